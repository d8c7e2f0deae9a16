"""Binned calibration errors, and the reliability curve behind them. For the binning-free error see `smooth`.

Three conventions that implementations often leave open: it is declared which side of a bin is closed, and both 0 and 1
belong to a bin; a block of ties is never split; and invalid rows form a bin of their own with gap 1, so that omitting a
confidence never lowers the error. (Equal-mass bins are the exception: their edges move when a row leaves, so they are
reported for answered rows only.)

    from emocaliber.evaluation import ece
    ece(confidence, correct, bins=15)       # sum over bins of |mean confidence - accuracy| · size / n
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, bdtrik

from emocaliber.evaluation.counts import Counts, FloatArray, IntArray, count_rows, metric, ratio
from emocaliber.evaluation.curves import HistogramBin, ReliabilityBin

Binning = Literal["equal width", "equal mass", "distinct"]
Edges = Literal["left", "right"]
Norm = Literal["l1", "l2", "max"]


@metric
def ece(
    counts: Counts, *, bins: int = 10, binning: Binning = "equal width", edges: Edges = "right", norm: Norm = "l1"
) -> FloatArray:
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017), (...), in [0, 1]; NaN without rows.

    `edges` names the closed side of an equal-width bin: "right" is (lo, hi] with 0 in the first bin, "left" is [lo,
    hi) with 1 in the last. `norm`: "l1" is the mean gap, "l2" the root of the mean squared gap, "max" the largest gap
    (MCE). Takes `Counts`, or `confidence` (n,) and `correct` (n,), with the ValueErrors of `count_rows`.
    """
    _, gaps, sizes = _bin_sums(counts, bins, binning, edges)
    if norm == "l1":
        return ratio(np.abs(gaps).sum(-1) + counts.invalid, counts.n)
    if norm == "l2":
        squares = np.divide(gaps**2, sizes, out=np.zeros_like(gaps), where=sizes > 0)
        return np.asarray(np.sqrt(ratio(squares.sum(-1) + counts.invalid, counts.n)))
    largest = np.divide(np.abs(gaps), sizes, out=np.zeros_like(gaps), where=sizes > 0).max(-1, initial=0.0)
    return np.asarray(np.where(counts.n > 0, np.where(counts.invalid > 0, 1.0, largest), np.nan))


@metric
def debiased_l2(counts: Counts, *, bins: int = 10, edges: Edges = "right") -> FloatArray:
    """Root of the debiased squared calibration error (Kumar et al. 2019, section 5), (...); 0 if the estimate is
    negative.

    From each bin's squared gap the sampling variance p(1 - p)/(size - 1) of its accuracy p is subtracted. A bin with
    one row has no variance estimate and keeps its squared gap; the authors' code counts it as perfectly calibrated.
    """
    rights, gaps, sizes = _bin_sums(counts, bins, "equal width", edges)
    share = np.divide(rights, sizes, out=np.zeros_like(rights), where=sizes > 0)
    squares = np.divide(gaps**2, sizes, out=np.zeros_like(gaps), where=sizes > 0)
    noise = np.divide(sizes * share * (1 - share), sizes - 1, out=np.zeros_like(rights), where=sizes > 1)
    return np.asarray(np.sqrt(np.maximum(ratio((squares - noise).sum(-1) + counts.invalid, counts.n), 0.0)))


def classwise_ece(
    distributions: ArrayLike, truth: ArrayLike, *, bins: int = 10, edges: Edges = "right", invalid: int = 0
) -> float:
    """Classwise ECE: the mean over labels k of the ECE of p(k) for the event "the label is k" (Kull et al. 2019; Nixon
    et al. 2019).

    `distributions` (n, L) of probabilities, `truth` (n,) of label indices; `invalid` further rows have no distribution.
    Raises ValueError as `count_rows` does.
    """
    probability = np.asarray(distributions, dtype=np.float64)
    label = np.asarray(truth)
    per_label = [
        ece(count_rows(probability[:, k], label == k, invalid=invalid), bins=bins, edges=edges)
        for k in range(probability.shape[1])
    ]
    return float(np.mean(per_label))


def reliability_curve(
    counts: Counts, *, bins: int = 10, edges: Edges = "right", level: float = 0.95
) -> list[ReliabilityBin]:
    """One entry per non-empty equal-width bin, with the `level` consistency band (Bröcker & Smith 2007).

    The band is binomial at the bin's mean confidence: available in closed form, and slightly wider than the exact band
    for confidences that vary within the bin.
    """
    starts = equal_width_starts(counts.values, bins, edges).tolist()
    curve = []
    for number, (first, last) in enumerate(pairwise(starts)):
        count = round(float(counts.rows[first:last].sum()))
        if count == 0:
            continue
        mean = float(counts.rows[first:last] @ counts.values[first:last]) / count
        low, high = consistency_band(count, min(mean, 1.0), level)
        share = float(counts.hits[first:last].sum()) / count
        curve.append(ReliabilityBin(number / bins, (number + 1) / bins, count, mean, share, low, high))
    return curve


def consistency_band(count: int, probability: float, level: float = 0.95) -> tuple[float, float]:
    """The central `level` interval of the share of successes in `count` Bernoulli draws with this `probability`."""
    tail = (1 - level) / 2
    low, high = (_binomial_quantile(share, count, probability) for share in (tail, 1 - tail))
    return low / count, high / count


def histogram(counts: Counts, *, bins: int = 20, edges: Edges = "right") -> list[HistogramBin]:
    """Right and wrong answers in `bins` equal-width bins of confidence, empty ones included."""
    starts = equal_width_starts(counts.values, bins, edges)

    def inside(amounts: FloatArray, number: int) -> int:
        return round(float(amounts[starts[number] : starts[number + 1]].sum()))

    return [
        HistogramBin(number / bins, (number + 1) / bins, inside(counts.hits, number), inside(counts.misses, number))
        for number in range(bins)
    ]


def equal_width_starts(values: FloatArray, bins: int, edges: Edges) -> IntArray:
    """The start of each bin in the ascending `values`, (bins + 1,): bin b holds values[starts[b]:starts[b + 1]].

    Edges are b / bins, correctly rounded, so that 0.3 lies on the edge 3/10 (np.linspace rounds that edge up).
    """
    inner = np.arange(1, bins) / bins
    starts = np.searchsorted(values, inner, side="left" if edges == "left" else "right")
    return np.asarray(np.concatenate(([0], starts, [values.size])), np.int64)


def _bin_sums(counts: Counts, bins: int, binning: Binning, edges: Edges) -> tuple[FloatArray, FloatArray, FloatArray]:
    """For each bin: right answers, the sum of confidences minus right answers, and rows; (..., bins) each."""
    gaps = counts.rows * counts.values - counts.hits
    if binning == "distinct":
        return counts.hits, gaps, counts.rows
    if binning == "equal mass":
        member = _equal_mass_bin(counts.rows, bins)
        return _scatter(counts.hits, member, bins), _scatter(gaps, member, bins), _scatter(counts.rows, member, bins)
    starts = np.unique(equal_width_starts(counts.values, bins, edges))[:-1]
    return _run_sums(counts.hits, starts), _run_sums(gaps, starts), _run_sums(counts.rows, starts)


def _run_sums(amounts: FloatArray, starts: IntArray) -> FloatArray:
    return np.asarray(np.add.reduceat(amounts, starts, axis=-1)) if starts.size else amounts


def _equal_mass_bin(rows: FloatArray, bins: int) -> IntArray:
    """The bin of each value: the one that contains the midpoint of its block of ties, so that no block is split."""
    middle = np.cumsum(rows, -1) - rows / 2
    total = np.maximum(rows.sum(-1, keepdims=True), 1.0)
    return np.asarray(np.minimum(np.floor(bins * middle / total), bins - 1)).astype(np.int64)


def _scatter(amounts: FloatArray, member: IntArray, bins: int) -> FloatArray:
    lead = amounts.shape[:-1]
    replicates = int(np.prod(lead))
    offset = bins * np.arange(replicates)[:, None]
    flat = (member.reshape(replicates, -1) + offset).ravel()
    sums = np.bincount(flat, weights=amounts.ravel(), minlength=bins * replicates)
    return sums.astype(np.float64).reshape(*lead, bins)


def _binomial_quantile(share: float, count: int, probability: float) -> float:
    """The smallest k at which the binomial distribution function reaches `share`."""
    if probability in {0.0, 1.0}:
        return count * probability
    k = max(0.0, np.ceil(bdtrik(share, count, probability)))
    return k - 1 if k > 0 and bdtr(k - 1, count, probability) >= share else float(k)
