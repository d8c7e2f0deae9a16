"""Counts: for each distinct confidence, the number of rows and of right answers. Every metric is a function of Counts.

Verbalized confidences are a few round numbers, so a million rows become a table of about a hundred entries. Rows are
sorted once, tied rows share an entry and so have no order, and a bootstrap replicate is the same table with other
counts: all arrays may have leading axes, (..., K), one entry per replicate.

    from emocaliber.evaluation import count_rows, ece
    ece(count_rows([0.9, 0.9, 0.4], [1, 0, 0]))     # for many metrics of the same rows: sorted once
    ece([0.9, 0.9, 0.4], [1, 0, 0])                 # the same, from plain arrays
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

from emocaliber.core.prediction_table import PredictionTable

LONGEST_SUM = 1 << 22
"""Harmonic numbers up to here come from a cached table, larger ones from the digamma function."""
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Options = ParamSpec("Options")
Result_co = TypeVar("Result_co", FloatArray, float, covariant=True)


@dataclass(frozen=True)
class Counts:
    """Rows grouped by distinct confidence.

    `values` (K,) are the confidences, ascending, in [0, 1]; `rows` (..., K) is the number of rows with each; `hits`
    (..., K) how many of these are right (or, for agreement, the sum of the annotators' vote shares). `invalid` (...) is
    the number of rows without a usable label or confidence, which every metric counts as wrong with its worst score;
    `invalid_right` (...) of them have the right label, which counts for label accuracy only.
    """

    values: FloatArray
    rows: FloatArray
    hits: FloatArray
    invalid: FloatArray
    invalid_right: FloatArray

    @property
    def answered(self) -> FloatArray:
        """Number of rows with a usable confidence, (...)."""
        return np.asarray(self.rows.sum(-1))

    @property
    def n(self) -> FloatArray:
        """Number of rows, invalid ones included, (...)."""
        return self.answered + self.invalid

    @cached_property
    def misses(self) -> FloatArray:
        """Wrong answers at each value, (..., K)."""
        return self.rows - self.hits

    @cached_property
    def tie_blocks(self) -> TieBlocks:
        """The blocks of ties in descending order of confidence, ranked after the invalid rows."""
        rows, wrong = self.rows[..., ::-1], self.misses[..., ::-1]
        invalid = self.invalid[..., None]
        start = np.cumsum(rows, -1) - rows + invalid
        return TieBlocks(rows, wrong, start, np.cumsum(wrong, -1) - wrong + invalid, harmonic_gap(start, rows))

    def answered_only(self) -> Counts:
        """The same rows without the invalid ones."""
        nothing = np.zeros_like(self.invalid)
        return replace(self, invalid=nothing, invalid_right=nothing)


@dataclass(frozen=True)
class TieBlocks:
    """Blocks of tied confidences, (..., K) each: the block's `rows` and `wrong` answers, the number of rows ranked
    before it (`start`) and of wrong ones among those (`errors`), and the sum of 1/rank over its ranks (`harmonic`)."""

    rows: FloatArray
    wrong: FloatArray
    start: FloatArray
    errors: FloatArray
    harmonic: FloatArray


def count_rows(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    invalid: int = 0,
    invalid_right: int = 0,
    weight: IntArray | None = None,
) -> Counts:
    """Group rows by confidence: `confidence` (n,) in [0, 1], `correct` (n,) of 0/1 (or shares in [0, 1]); `weight`
    (n,) is the number of rows that each row stands for, by default 1.

    Raises ValueError if there are no rows, if shapes differ, or for NaN, infinity or a value outside [0, 1], naming
    the row (counted from 0).
    """
    values = unit_interval(confidence, "confidence")
    right = unit_interval(correct, "correct")
    if values.shape != right.shape:
        raise ValueError(f"confidence has {values.size} rows, correct has {right.size}; they must be the same rows")
    if values.size + invalid == 0:
        raise ValueError("no rows: a metric of nothing is undefined")
    if not 0 <= invalid_right <= invalid:
        raise ValueError(f"invalid_right ({invalid_right}) must be from 0 to invalid ({invalid})")
    distinct, rows, hits = _group(values, right, np.ones(values.size) if weight is None else weight.astype(np.float64))
    return Counts(distinct, rows, hits, np.float64(invalid) * np.ones(()), np.float64(invalid_right) * np.ones(()))


def count_table(table: PredictionTable, rows: IntArray) -> Counts:
    """The Counts of these row numbers of a method's table."""
    usable, right = table.usable()[rows], table.label_right()[rows]
    return count_rows(
        table.confidence[rows][usable],
        right[usable],
        invalid=table.count(rows[~usable]),
        invalid_right=table.count(rows[right & ~usable]),
        weight=table.weights(rows[usable]),
    )


class Metric(Protocol[Options, Result_co]):
    """A metric of Counts, which returns (...); called with plain arrays instead, it returns a float."""

    @overload
    def __call__(self, rows: Counts, /, *args: Options.args, **options: Options.kwargs) -> Result_co: ...
    @overload
    def __call__(
        self, confidence: ArrayLike, correct: ArrayLike, /, *args: Options.args, **options: Options.kwargs
    ) -> float: ...


def metric(function: Callable[Concatenate[Counts, Options], Result_co]) -> Metric[Options, Result_co]:
    """Decorator: let a metric of Counts also accept `confidence` (n,) and `correct` (n,), as `count_rows` does."""
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = [inspect.Parameter(name, keyword, annotation="ArrayLike") for name in ("confidence", "correct")]
    signature = inspect.Signature(own + list(inspect.signature(function).parameters.values())[1:])
    of_counts: Callable[..., Any] = function

    @wraps(function)
    def measured(*args: Any, **options: Any) -> Any:
        if args and isinstance(args[0], Counts):
            return of_counts(*args, **options)
        bound = signature.bind(*args, **options).arguments
        return float(of_counts(count_rows(bound.pop("confidence"), bound.pop("correct")), **bound))

    measured.__signature__ = signature  # type: ignore[attr-defined]
    return cast("Metric[Options, Result_co]", measured)


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
            " and count rows without one as invalid"
        )
    return array


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> FloatArray:
    """numerator / denominator, elementwise; NaN where the denominator is 0."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if top.shape != bottom.shape:
        top, bottom = np.broadcast_arrays(top, bottom)
    return np.asarray(np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom != 0))


def harmonic_gap(start: ArrayLike, size: ArrayLike) -> FloatArray:
    """1/(start + 1) + ... + 1/(start + size), elementwise, for non-negative integers; 0 where size is 0.

    It gives expectations over the orders within a block of ties in closed form.
    """
    first, length = np.broadcast_arrays(np.asarray(start, np.float64), np.asarray(size, np.float64))
    if not (length > 1).any():
        return np.where(length == 1, 1 / (first + 1), 0.0)
    last = (first + length).astype(np.int64)
    if last.max(initial=0) > LONGEST_SUM:
        return np.where(length == 1, 1 / (first + 1), digamma(first + length + 1) - digamma(first + 1))
    table = _harmonic_numbers(1 << int(last.max(initial=0)).bit_length())
    # A single term is computed directly: as a difference of two sums near 14 it would lose nine digits.
    return np.where(length == 1, 1 / (first + 1), table[last] - table[first.astype(np.int64)])


@lru_cache(maxsize=1)
def _harmonic_numbers(size: int) -> FloatArray:
    """H_0 ... H_size, cached because all values of a scorecard use the same ones."""
    return np.concatenate(([0.0], np.cumsum(1 / np.arange(1, size + 1))))


def _group(values: FloatArray, right: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    order = np.argsort(values)
    ascending = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ascending[1:] != ascending[:-1])))[: values.size]
    if not values.size:
        return values, values, values
    weight = weight[order]
    return ascending[starts], np.add.reduceat(weight, starts), np.add.reduceat(right[order] * weight, starts)
