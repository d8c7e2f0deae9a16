"""Tally: how often each distinct confidence was stated, and how often it was right. Every metric takes one.

Stated confidences are a few round numbers, so a million rows are a table of a hundred lines. Sorting is done once,
ties are one line and therefore have no order, and a bootstrap replicate is the same table with other counts: all
arrays may have leading axes (..., K), one entry per replicate. Not a metric, and not a reader of files.

    python -c "from emocaliber.evaluation.tally import tally; print(tally([0.9, 0.9, 0.4], [1, 0, 0]))"
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emocaliber.evaluation.harmonic import harmonic_gap

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Tally:
    """Rows grouped by distinct confidence.

    `values` (K,) ascending, in [0, 1]; `counts` (..., K) rows at each value; `hits` (..., K) how many of them are
    right (or, for agreement, the sum of the raters' shares). `refused` (...) counts rows without a usable label or
    confidence: every metric counts them as wrong with its worst score. `refused_right` (...) of them named the right
    label all the same, which only label accuracy knows.
    """

    values: FloatArray
    counts: FloatArray
    hits: FloatArray
    refused: FloatArray
    refused_right: FloatArray

    @property
    def answered(self) -> FloatArray:
        """Rows with a usable confidence, (...)."""
        return np.asarray(self.counts.sum(-1))

    @property
    def n(self) -> FloatArray:
        """All rows, (...)."""
        return self.answered + self.refused

    @cached_property
    def misses(self) -> FloatArray:
        """Wrong answers at each value, (..., K)."""
        return self.counts - self.hits

    @cached_property
    def from_the_top(self) -> FromTheTop:
        """The blocks of ties in order of falling confidence, below the refused rows."""
        counts, wrong = self.counts[..., ::-1], self.misses[..., ::-1]
        refused = self.refused[..., None]
        start = np.cumsum(counts, -1) - counts + refused
        return FromTheTop(counts, wrong, start, np.cumsum(wrong, -1) - wrong + refused, harmonic_gap(start, counts))

    def answered_only(self) -> Tally:
        """The same rows without those that were refused."""
        nothing = np.zeros_like(self.refused)
        return replace(self, refused=nothing, refused_right=nothing)


@dataclass(frozen=True)
class FromTheTop:
    """Of each block of ties, (..., K): `counts` rows and `wrong` errors in it, `start` rows and `errors` before it,
    and the sum of 1/rank over the ranks that it takes up (`harmonic`)."""

    counts: FloatArray
    wrong: FloatArray
    start: FloatArray
    errors: FloatArray
    harmonic: FloatArray


def tally(confidence: ArrayLike, correct: ArrayLike, *, refused: int = 0, refused_right: int = 0) -> Tally:
    """Group rows by confidence: `confidence` (n,) in [0, 1], `correct` (n,) of 0/1 (or shares in [0, 1]).

    Raises ValueError for no rows at all, for shapes that differ, and for NaN, infinity or a value outside [0, 1],
    naming the row (counted from 0).
    """
    stated = unit_interval(confidence, "confidence")
    right = unit_interval(correct, "correct")
    if stated.shape != right.shape:
        raise ValueError(f"confidence has {stated.size} rows, correct has {right.size}; they must be the same rows")
    if stated.size + refused == 0:
        raise ValueError("no rows: a metric of nothing is undefined")
    if not 0 <= refused_right <= refused:
        raise ValueError(f"refused_right ({refused_right}) must be from 0 to refused ({refused})")
    values, counts, hits = _group(stated, right)
    return Tally(values, counts, hits, np.float64(refused) * np.ones(()), np.float64(refused_right) * np.ones(()))


def unit_interval(values: ArrayLike, name: str) -> FloatArray:
    """A one-dimensional float array, or ValueError naming the first row that is not a number in [0, 1]."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional; its shape is {array.shape}")
    wrong = ~((array >= 0.0) & (array <= 1.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{name} of row {row} is {array[row]}; give a number from 0 to 1 (85 % is 0.85),"
            " and count rows that have none as refused"
        )
    return array


def _group(stated: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    order = np.argsort(stated)
    ascending = stated[order]
    starts = np.flatnonzero(np.concatenate(([True], ascending[1:] != ascending[:-1])))[: stated.size]
    counts = np.diff(starts, append=stated.size).astype(np.float64)
    hits = np.add.reduceat(right[order], starts) if stated.size else right
    return ascending[starts], counts, hits


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> FloatArray:
    """numerator / denominator, NaN where the denominator is 0: an undefined figure is never 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.asarray(np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom != 0))


def dense_codes(codes: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """The distinct values of `codes` (n,), each below `size`, and the place of each row's among them, (n,)."""
    if size > 4 * codes.size + 1024:
        distinct, place = np.unique(codes, return_inverse=True)
        return distinct, place.reshape(-1)
    present = np.bincount(codes, minlength=size) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[codes]
