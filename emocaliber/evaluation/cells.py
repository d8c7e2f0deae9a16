"""Cells: the distinct kinds of row of one method, and how counts of them become a tally.

A row's cell is its confidence, whether it is right, and its agreement with the raters; refused rows form their own.
Not a resampler (see resampling): this only says what the counts mean.

    python -m pytest tests/evaluation/test_cells.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.tally import BoolArray, FloatArray, IntArray, Tally, unit_interval

MAX_LEVELS = 1_200
"""Where there are more distinct confidences, replicates are of confidences rounded to multiples of 1/1200: enough for
the spread of an interval. No value is ever taken from rounded confidences."""


@dataclass(frozen=True)
class Cells:
    """C cells in order of confidence, refused ones last.

    `codes` (n,) is each row's cell. `values` (K,) are the distinct confidences and `starts` (K,) the first cell of
    each; `hit`, `label_right` and `agreement` (C,) describe the cells; the last `refused` of them are refused rows.
    """

    codes: IntArray
    values: FloatArray
    starts: IntArray
    hit: FloatArray
    label_right: FloatArray
    agreement: FloatArray
    refused: int

    @property
    def size(self) -> int:
        """Number of cells, C."""
        return self.hit.size

    def tally(self, counts: FloatArray) -> Tally:
        """Counts of cells (..., C) as a tally of right answers."""
        return self._tally(counts, self.hit)

    def agreement_tally(self, counts: FloatArray) -> Tally:
        """Counts of cells (..., C) as a tally whose hits are the raters' shares."""
        return self._tally(counts, self.agreement)

    def agreement_sum(self, counts: FloatArray) -> FloatArray:
        """Sum of the raters' shares over all rows, refused ones without a share, (...)."""
        return np.asarray(counts[..., : self.size - self.refused] @ self.agreement[: self.size - self.refused])

    def _tally(self, counts: FloatArray, hit: FloatArray) -> Tally:
        last = self.size - self.refused
        answered, refused = counts[..., :last], counts[..., last:]
        return Tally(
            self.values,
            self._by_level(answered),
            self._by_level(answered * hit[:last]),
            np.asarray(refused.sum(-1)),
            np.asarray(refused @ self.label_right[last:]),
        )

    def _by_level(self, amounts: FloatArray) -> FloatArray:
        if self.starts.size == amounts.shape[-1]:
            return amounts
        return np.asarray(np.add.reduceat(amounts, self.starts, axis=-1))


def cells(
    confidence: ArrayLike,
    right: BoolArray,
    usable: BoolArray,
    agreement: FloatArray | None = None,
    *,
    levels: int | None = None,
) -> Cells:
    """Cells of n rows. `right` (n,) says whether the label is right, `usable` (n,) whether the row is answered at
    all; `confidence` (n,) is read only where it is. `levels` rounds confidences to multiples of 1 / levels."""
    stated = unit_interval(np.where(usable, confidence, 0.0), "confidence")
    if levels is not None:
        stated = np.round(stated * levels) / levels
    share = np.zeros(stated.size) if agreement is None else np.where(usable, agreement, 0.0)
    order = np.lexsort((share, right, stated, ~usable))
    ordered = [column[order] for column in (~usable, stated, right, share)]
    new = np.logical_or.reduce([column[1:] != column[:-1] for column in ordered])
    codes = np.empty(stated.size, np.int64)
    codes[order] = np.cumsum(np.concatenate(([0], new)))
    sample = order[np.concatenate(([True], new))]
    answered = sample[usable[sample]]
    values, starts = np.unique(stated[answered], return_index=True)
    hit = (right & usable)[sample].astype(np.float64)
    return Cells(
        codes, values, starts, hit, right[sample].astype(np.float64), share[sample], sample.size - answered.size
    )
