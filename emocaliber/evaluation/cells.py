"""Cells: rows that a set of metrics cannot tell apart, and metric families, whose values are functions of their counts.

For a confidence, a row's cell is its value, whether it is right, and the annotators' agreement with it; invalid rows
have cells of their own. Eight thousand rows with a hundred distinct confidences are two hundred cells or so, and a
bootstrap replicate is a draw of as many counts (see `resampling`).

    grouped = cells(confidence, right, usable)
    brier_score(grouped.correctness(grouped.sample()))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from emocaliber.evaluation.counts import BoolArray, Counts, FloatArray, IntArray

Values = dict[str, FloatArray]
Statistic = Callable[[FloatArray], Mapping[str, FloatArray]]
"""A function from counts of cells (r, cells) to named values, (r,) each."""

MAX_LEVELS = 1_200
"""With more distinct confidences than this, replicates use confidences rounded to multiples of 1/1200, which is
accurate enough for the width of an interval. Reported values never come from rounded confidences."""


@dataclass(frozen=True)
class MetricFamily:
    """A set of metrics that are functions of the counts of the same cells.

    `rows` (n,) are the table's rows, `codes` (n,) their cells, numbered below `size`, and `statistic` computes the
    values from counts (r, size). `exact` holds the values of the sample if the cells use rounded confidences. `null`
    computes the calibration errors among the values under perfect calibration (see `as_if_calibrated`). Families with
    the same cells and `stream` share their bootstrap draws; those with different streams are drawn independently.
    `weight` (n,) is the number of rows that each row stands for, None for 1.
    """

    rows: IntArray
    codes: IntArray
    size: int
    statistic: Statistic
    exact: Mapping[str, FloatArray] | None = None
    null: Statistic | None = None
    stream: int = 0
    weight: IntArray | None = None

    def sample(self) -> FloatArray:
        """The number of rows in each cell, (1, size)."""
        return np.bincount(self.codes, self.weight, self.size).astype(np.float64)[None, :]


@dataclass(frozen=True)
class Cells:
    """The C cells of n rows, in order of confidence, invalid ones last.

    `codes` (n,) is each row's cell. `values` (K,) are the distinct confidences and `starts` (K,) the first cell of
    each. `hit`, `label_right` and `agreement` (C,) describe the cells; the last `invalid` cells hold the invalid rows.
    """

    codes: IntArray
    values: FloatArray
    starts: IntArray
    hit: FloatArray
    label_right: FloatArray
    agreement: FloatArray
    invalid: int
    weight: IntArray | None = None

    @property
    def size(self) -> int:
        """Number of cells, C."""
        return self.hit.size

    def correctness(self, rows: FloatArray) -> Counts:
        """Numbers of rows per cell (..., C) as Counts of right answers."""
        return self._counts(rows, self.hit)

    def agreements(self, rows: FloatArray) -> Counts:
        """Numbers of rows per cell (..., C) as Counts whose hits are the annotators' vote shares."""
        return self._counts(rows, self.agreement)

    def sample(self) -> FloatArray:
        """The number of rows in each cell, (C,)."""
        return np.bincount(self.codes, self.weight, self.size).astype(np.float64)

    def agreement_sum(self, rows: FloatArray) -> FloatArray:
        """Sum of the annotators' vote shares over the answered rows, (...)."""
        return np.asarray(rows[..., : self.size - self.invalid] @ self.agreement[: self.size - self.invalid])

    def answered(self, rows: FloatArray) -> FloatArray:
        """Numbers of rows per cell (..., C), with those of invalid cells set to 0."""
        left = rows.copy()
        left[..., self.size - self.invalid :] = 0.0
        return left

    def _counts(self, rows: FloatArray, hit: FloatArray) -> Counts:
        last = self.size - self.invalid
        answered, invalid = rows[..., :last], rows[..., last:]
        return Counts(
            self.values,
            self._by_value(answered),
            self._by_value(answered * hit[:last]),
            np.asarray(invalid.sum(-1)),
            np.asarray(invalid @ self.label_right[last:]),
        )

    def _by_value(self, amounts: FloatArray) -> FloatArray:
        if self.starts.size == amounts.shape[-1]:
            return amounts
        return np.asarray(np.add.reduceat(amounts, self.starts, axis=-1))


def cells(
    confidence: FloatArray,
    right: BoolArray,
    usable: BoolArray,
    agreement: FloatArray | None = None,
    *,
    levels: int | None = None,
    weight: IntArray | None = None,
) -> Cells:
    """The cells of n rows.

    `right` (n,) says whether the label is right, `usable` (n,) whether the row has a label and a confidence;
    `confidence` (n,), in [0, 1], is used only where it has. `levels` rounds confidences to multiples of 1 / levels.
    `weight` (n,) is the number of rows that each row stands for.
    """
    value = np.where(usable, confidence, 0.0)
    if levels is not None:
        value = np.round(value * levels) / levels
    share = np.zeros(value.size) if agreement is None else np.where(usable, agreement, 0.0)
    order = np.lexsort((share, right, value, ~usable))
    ordered = [column[order] for column in (~usable, value, right, share)]
    new = np.logical_or.reduce([column[1:] != column[:-1] for column in ordered])
    codes = np.empty(value.size, np.int64)
    codes[order] = np.cumsum(np.concatenate(([0], new)))
    sample = order[np.concatenate(([True], new))]
    answered = sample[usable[sample]]
    values, starts = np.unique(value[answered], return_index=True)
    hit = (right & usable)[sample].astype(np.float64)
    return Cells(
        codes, values, starts, hit, right[sample].astype(np.float64), share[sample], sample.size - answered.size, weight
    )


def as_if_calibrated(replicates: Counts, sample: Counts) -> Counts:
    """Counts (..., K) of bootstrap replicates, recentred as if the sample (K,) were perfectly calibrated.

    The sample's gaps are subtracted from the hits of the replicates. The remaining gaps are sampling noise, including
    the dependence within clusters.
    """
    size = np.divide(replicates.answered, sample.answered, out=np.zeros(replicates.n.shape), where=sample.answered > 0)
    gaps = sample.rows * sample.values - sample.hits
    return replace(replicates, hits=replicates.hits + size[..., None] * gaps)


def distinct_rows(columns: FloatArray) -> tuple[IntArray, FloatArray]:
    """The cell of each row (n,), and the distinct rows (cells, columns), sorted, so that row order does not matter."""
    order = np.lexsort(columns.T)
    ordered = columns[order]
    new = np.concatenate(([True], (ordered[1:] != ordered[:-1]).any(1)))
    codes = np.empty(len(columns), np.int64)
    codes[order] = np.cumsum(new) - 1
    return codes, ordered[new]


def dense_codes(codes: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """Renumber `codes` (n,), each below `size`, densely from 0; also returns the distinct codes."""
    if size > 4 * codes.size + 1024:
        distinct, place = np.unique(codes, return_inverse=True)
        return place.reshape(-1), distinct
    present = np.bincount(codes, minlength=size) > 0
    return (np.cumsum(present) - 1)[codes], np.flatnonzero(present)


def on_common_cells(families: Sequence[MetricFamily]) -> list[MetricFamily]:
    """The families with common cells (the distinct combinations of their cells), if they cover the same rows; otherwise
    unchanged."""
    first = families[0]
    if len(families) == 1 or not all(np.array_equal(family.rows, first.rows) for family in families):
        return list(families)
    codes, of_each = first.codes, [np.arange(first.size)]
    size = first.size
    for family in families[1:]:
        codes, pairs = dense_codes(codes * family.size + family.codes, size * family.size)
        of_each = [*(cells[pairs // family.size] for cells in of_each), pairs % family.size]
        size = pairs.size
    return [_finer(family, codes, cells) for family, cells in zip(families, of_each, strict=True)]


def _finer(family: MetricFamily, codes: IntArray, cell: IntArray) -> MetricFamily:
    """The family with finer cells: `codes` (n,) are the new cells of the rows, and `cell` maps each to its old cell."""
    if np.array_equal(cell, np.arange(family.size)):
        return replace(family, codes=codes)
    pooling = csr_array((np.ones(cell.size), (cell, np.arange(cell.size))), shape=(family.size, cell.size))

    def pooled(statistic: Statistic) -> Statistic:
        return lambda counts: statistic(np.ascontiguousarray((pooling @ counts.T).T))

    null = None if family.null is None else pooled(family.null)
    return replace(family, codes=codes, size=cell.size, statistic=pooled(family.statistic), null=null)
