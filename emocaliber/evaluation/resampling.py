"""Resampling: rows as counts of cells, and bootstrap replicates of those counts, drawn by row or by cluster.

Rows that are alike are one cell, so a replicate of eight thousand rows with a hundred distinct confidences is a draw of
two hundred counts. For a confidence, a row's cell is its value, whether it is right, and its agreement with the
annotators; invalid rows form their own.

    from emocaliber.evaluation.resampling import population
    next(population(codes, cells, clusters=clusters).replicates(1000, seed=0))       # (1000, cells)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from emocaliber.evaluation.counts import BoolArray, Counts, FloatArray, IntArray

Values = dict[str, FloatArray]
Statistic = Callable[[FloatArray], Mapping[str, FloatArray]]
"""Counts of cells (r, cells) to named values, each (r,)."""

MAX_LEVELS = 1_200
"""Where there are more distinct confidences, replicates are of confidences rounded to multiples of 1/1200: enough for
the spread of an interval. No value is ever taken from rounded confidences."""

CHUNK = 2_000_000
"""Numbers in memory at once: replicates are made in chunks of about this many."""

JACKKNIFE_GROUPS = 250
"""With more kinds of unit than this, the jackknife leaves out random groups of units in place of single ones."""

MANY_UNITS = 4_000_000
"""With more units than this, each is put into a group by itself, so that their sizes differ by chance."""


@dataclass(frozen=True)
class MetricFamily:
    """The table's `rows` (n,) that are measured, their cells, `codes` (n,) below `size`, and the statistic of counts
    (r, size). `exact` holds the values on the sample itself where the cells are of rounded confidences. `chance`
    gives the calibration errors among the values as chance alone makes them: `without_gaps`. Families of another
    `stream` are drawn independently; those on the same cells and of the same stream are drawn alike. `weight` (n,) is
    how many rows each stands for, None for 1."""

    rows: IntArray
    codes: IntArray
    size: int
    statistic: Statistic
    exact: Mapping[str, FloatArray] | None = None
    chance: Statistic | None = None
    stream: int = 0
    weight: IntArray | None = None

    def sample(self) -> FloatArray:
        """The rows in each cell, (1, size)."""
        return np.bincount(self.codes, self.weight, self.size).astype(np.float64)[None, :]


@dataclass(frozen=True)
class Cells:
    """C cells in order of confidence, invalid ones last.

    `codes` (n,) is each row's cell. `values` (K,) are the distinct confidences and `starts` (K,) the first cell of
    each; `hit`, `label_right` and `agreement` (C,) describe the cells; the last `invalid` of them are invalid rows.
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
        """Rows in each cell (..., C) as counts of right answers."""
        return self._counts(rows, self.hit)

    def agreements(self, rows: FloatArray) -> Counts:
        """Rows in each cell (..., C) as counts whose hits are the annotators' shares."""
        return self._counts(rows, self.agreement)

    def sample(self) -> FloatArray:
        """The rows in each cell, (C,)."""
        return np.bincount(self.codes, self.weight, self.size).astype(np.float64)

    def agreement_sum(self, rows: FloatArray) -> FloatArray:
        """Sum of the annotators' shares over all rows, invalid ones without a share, (...)."""
        return np.asarray(rows[..., : self.size - self.invalid] @ self.agreement[: self.size - self.invalid])

    def answered(self, rows: FloatArray) -> FloatArray:
        """Rows in each cell (..., C) without the invalid ones."""
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
    """Cells of n rows. `right` (n,) says whether the label is right, `usable` (n,) whether the row is answered at
    all; `confidence` (n,), in [0, 1], is read only where it is. `levels` rounds it to multiples of 1 / levels; each row
    stands for `weight` (n,)."""
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


def without_gaps(replicates: Counts, sample: Counts) -> Counts:
    """Counts (..., K) of replicates as if the sample (K,) were calibrated: its gaps are taken out of their hits, and
    what is left of a gap is chance, with the dependence that clusters bring."""
    size = np.divide(replicates.answered, sample.answered, out=np.zeros(replicates.n.shape), where=sample.answered > 0)
    gaps = sample.rows * sample.values - sample.hits
    return replace(replicates, hits=replicates.hits + size[..., None] * gaps)


def distinct_rows(columns: FloatArray) -> tuple[IntArray, FloatArray]:
    """The cell of each row (n,), and the distinct rows (cells, columns), sorted: in no order but their own."""
    order = np.lexsort(columns.T)
    ordered = columns[order]
    new = np.concatenate(([True], (ordered[1:] != ordered[:-1]).any(1)))
    codes = np.empty(len(columns), np.int64)
    codes[order] = np.cumsum(new) - 1
    return codes, ordered[new]


def dense_codes(codes: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """The place of each of `codes` (n,), each below `size`, among their distinct values, and those values."""
    if size > 4 * codes.size + 1024:
        distinct, place = np.unique(codes, return_inverse=True)
        return place.reshape(-1), distinct
    present = np.bincount(codes, minlength=size) > 0
    return (np.cumsum(present) - 1)[codes], np.flatnonzero(present)


def on_common_cells(families: Sequence[MetricFamily]) -> list[MetricFamily]:
    """Families on the same rows with the distinct combinations of their cells as cells; others as they are."""
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
    """The family on finer cells, `codes` (n,), each a part of the `cell` (finer,) of its own."""
    if np.array_equal(cell, np.arange(family.size)):
        return replace(family, codes=codes)
    pooling = csr_array((np.ones(cell.size), (cell, np.arange(cell.size))), shape=(family.size, cell.size))

    def pooled(statistic: Statistic) -> Statistic:
        return lambda counts: statistic(np.ascontiguousarray((pooling @ counts.T).T))

    chance = None if family.chance is None else pooled(family.chance)
    return replace(family, codes=codes, size=cell.size, statistic=pooled(family.statistic), chance=chance)


@dataclass(frozen=True)
class Population:
    """The units to draw from: `multiplicity` (U,) how many there are of each kind, `stratum` (U,) which are drawn
    together (each stratum keeps its number of units), `contents` (U, cells) what a unit of that kind holds, None
    where kind u is one row of cell u."""

    cells: int
    multiplicity: IntArray
    stratum: IntArray
    contents: csr_array | None

    def counts(self) -> FloatArray:
        """Rows in each cell, (cells,): the sample itself."""
        return np.asarray(self._rows_of(self.multiplicity[None, :].astype(np.float64))[0])

    def fewest_units(self) -> int:
        """The units of the smallest stratum: with a single unit, no replicate differs and there is no interval."""
        units = np.bincount(self.stratum, weights=self.multiplicity)
        return int(units[units > 0].min()) if units.any() else 0

    def replicates(self, number: int, seed: int | Sequence[int]) -> Iterator[FloatArray]:
        """`number` bootstrap replicates in chunks of (some, cells). The same for every order of the rows."""
        rng = np.random.default_rng(seed)
        units = int(self.multiplicity.sum())
        rows = max(1, CHUNK // max(self.cells, min(units, 4 * self.multiplicity.size)))
        for first in range(0, number, rows):
            yield self._rows_of(self._draw(rng, min(rows, number - first)))

    def jackknife(self, seed: int | Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """The sample with one unit, or one random group of units, left out: (left out, cells) and their weights."""
        kinds = np.flatnonzero(self.multiplicity)
        if kinds.size <= JACKKNIFE_GROUPS:
            left_out = np.zeros((kinds.size, self.multiplicity.size))
            left_out[np.arange(kinds.size), kinds] = 1.0
            return self.counts() - self._rows_of(left_out), self.multiplicity[kinds].astype(np.float64)
        rng = np.random.default_rng(seed)
        if self.multiplicity.sum() > MANY_UNITS:
            groups = rng.multinomial(self.multiplicity, np.full(JACKKNIFE_GROUPS, 1 / JACKKNIFE_GROUPS))
            return self.counts() - self._rows_of(groups.T.astype(np.float64)), np.ones(JACKKNIFE_GROUPS)
        unit = rng.permutation(np.repeat(np.arange(self.multiplicity.size), self.multiplicity))
        group = np.arange(unit.size) * JACKKNIFE_GROUPS // unit.size
        flat = np.bincount(
            group * self.multiplicity.size + unit, minlength=JACKKNIFE_GROUPS * self.multiplicity.size
        ).reshape(JACKKNIFE_GROUPS, -1)
        return self.counts() - self._rows_of(flat.astype(np.float64)), np.ones(JACKKNIFE_GROUPS)

    def _draw(self, rng: np.random.Generator, number: int) -> FloatArray:
        drawn = np.zeros((number, self.multiplicity.size))
        for stratum in np.unique(self.stratum):
            kinds = np.flatnonzero(self.stratum == stratum)
            drawn[:, kinds] = _multinomial(rng, self.multiplicity[kinds], number)
        return drawn

    def _rows_of(self, units: FloatArray) -> FloatArray:
        return units if self.contents is None else np.ascontiguousarray((self.contents.T @ units.T).T)


def population(
    codes: IntArray,
    cells: int,
    *,
    clusters: IntArray | None = None,
    strata: IntArray | None = None,
    weight: IntArray | None = None,
) -> Population:
    """Units of the rows whose cells are `codes` (n,): rows, or `clusters` (n,) of them; `weight` (n,) is how many rows
    each stands for.

    `strata` (n,) are drawn separately, unless a cluster lies in two: then all are drawn together, and the overlap
    counts. Rows of one cell must share a stratum.
    """
    level = np.zeros(codes.size, np.int64) if strata is None else strata
    if clusters is None:
        multiplicity = np.bincount(codes, weight, cells).astype(np.int64)
        stratum = np.zeros(cells, np.int64)
        stratum[codes] = level
        return Population(cells, multiplicity, stratum, None)
    _, unit = np.unique(clusters, return_inverse=True)
    units = int(unit.max()) + 1
    contents = csr_array(
        (np.ones(codes.size) if weight is None else weight.astype(np.float64), (unit, codes)), shape=(units, cells)
    )
    order = _canonical(contents)
    first = np.zeros(units, np.int64)
    first[unit] = level
    if (first[unit] != level).any():
        first[:] = 0
    return Population(cells, np.ones(units, np.int64), first[order], contents[order])


def _multinomial(rng: np.random.Generator, multiplicity: IntArray, number: int) -> FloatArray:
    """`number` multinomial draws of as many units as there are, (number, kinds)."""
    units, kinds = int(multiplicity.sum()), multiplicity.size
    if 4 * kinds < units:
        return rng.multinomial(units, multiplicity / units, size=number).astype(np.float64)
    unit = rng.integers(0, units, size=(number, units), dtype=np.int32)
    kind = unit if (multiplicity == 1).all() else np.repeat(np.arange(kinds, dtype=np.int32), multiplicity)[unit]
    flat = kind + kinds * np.arange(number, dtype=np.int64)[:, None]
    return np.bincount(flat.ravel(), minlength=number * kinds).reshape(number, kinds).astype(np.float64)


def _canonical(contents: csr_array) -> IntArray:
    """An order of the clusters that depends on what they hold and not on where their rows stood."""
    contents.sum_duplicates()
    bounds = zip(contents.indptr[:-1], contents.indptr[1:], strict=True)
    keys = [(contents.indices[a:b].tobytes(), contents.data[a:b].tobytes()) for a, b in bounds]
    return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
