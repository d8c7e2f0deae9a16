"""Calibration error: by bins of equal width, of equal mass, or by distinct value; debiased; classwise.

Not a diagram (see reliability) and not the binless smooth ECE (see smooth). Three things go wrong elsewhere and are
settled here: the side on which a bin is closed is declared and both ends of [0, 1] belong to a bin; a block of ties
is never split; refused rows form a bin of their own with gap 1, so that refusing never lowers the error (except with
bins of equal mass: their edges move when a row leaves them, so those figures are for answered rows).

    python -c "from emocaliber.evaluation import calibration as c, tally as t; print(c.ece(t.tally([1, 1], [0, 0])))"
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.tally import FloatArray, IntArray, Tally, ratio, tally

Binning = Literal["equal width", "equal mass", "distinct"]
Edges = Literal["left", "right"]
Norm = Literal["l1", "l2", "max"]


def ece(
    rows: Tally, *, bins: int = 10, binning: Binning = "equal width", edges: Edges = "right", norm: Norm = "l1"
) -> FloatArray:
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017), (...), in [0, 1]; NaN without rows.

    `edges` names the closed side of an equal-width bin: "right" is (lo, hi] with 0 in the first bin, "left" is [lo,
    hi) with 1 in the last. `norm`: "l1" is the mean gap, "l2" the root of the mean squared gap, "max" the largest gap
    (MCE).
    """
    _, gaps, sizes = _bin_sums(rows, bins, binning, edges)
    if norm == "l1":
        return ratio(np.abs(gaps).sum(-1) + rows.refused, rows.n)
    if norm == "l2":
        squares = np.divide(gaps**2, sizes, out=np.zeros_like(gaps), where=sizes > 0)
        return np.asarray(np.sqrt(ratio(squares.sum(-1) + rows.refused, rows.n)))
    largest = np.divide(np.abs(gaps), sizes, out=np.zeros_like(gaps), where=sizes > 0).max(-1, initial=0.0)
    return np.asarray(np.where(rows.n > 0, np.where(rows.refused > 0, 1.0, largest), np.nan))


def debiased_l2(rows: Tally, *, bins: int = 10, binning: Binning = "equal width", edges: Edges = "right") -> FloatArray:
    """Root of the debiased squared calibration error (Kumar et al. 2019, section 5), (...); 0 where the estimate is
    negative.

    Each bin's squared gap less the sampling variance p(1 - p)/(size - 1) of its share of right answers p. A bin of
    one row has no variance estimate and keeps its squared gap, where the authors' code counts it as perfect.
    """
    rights, gaps, sizes = _bin_sums(rows, bins, binning, edges)
    share = np.divide(rights, sizes, out=np.zeros_like(rights), where=sizes > 0)
    squares = np.divide(gaps**2, sizes, out=np.zeros_like(gaps), where=sizes > 0)
    noise = np.divide(sizes * share * (1 - share), sizes - 1, out=np.zeros_like(rights), where=sizes > 1)
    return np.asarray(np.sqrt(np.maximum(ratio((squares - noise).sum(-1) + rows.refused, rows.n), 0.0)))


def classwise_ece(
    distributions: ArrayLike, truth: ArrayLike, *, bins: int = 10, edges: Edges = "right", refused: int = 0
) -> float:
    """Mean over labels of the ECE of "the label is k" (Kull et al. 2019; Nixon et al. 2019).

    `distributions` (n, L) of probabilities, `truth` (n,) of label indices. Raises ValueError as `tally` does.
    """
    probability = np.asarray(distributions, dtype=np.float64)
    label = np.asarray(truth)
    per_label = [
        ece(tally(probability[:, k], label == k, refused=refused), bins=bins, edges=edges)
        for k in range(probability.shape[1])
    ]
    return float(np.mean(per_label))


def equal_width_starts(values: FloatArray, bins: int, edges: Edges) -> IntArray:
    """Where each bin begins among the ascending `values`, (bins + 1,): bin b holds values[starts[b]:starts[b + 1]].

    Edges are b / bins, correctly rounded, so that 0.3 lies on the edge 3/10 (np.linspace puts that edge above it).
    """
    inner = np.arange(1, bins) / bins
    starts = np.searchsorted(values, inner, side="left" if edges == "left" else "right")
    return np.asarray(np.concatenate(([0], starts, [values.size])), np.int64)


def _bin_sums(rows: Tally, bins: int, binning: Binning, edges: Edges) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Right answers, sum of confidence minus right answers, and rows, of each bin: three of shape (..., bins)."""
    gaps = rows.counts * rows.values - rows.hits
    if binning == "distinct":
        return rows.hits, gaps, rows.counts
    if binning == "equal mass":
        member = _equal_mass_bin(rows.counts, bins)
        return _scatter(rows.hits, member, bins), _scatter(gaps, member, bins), _scatter(rows.counts, member, bins)
    starts = np.unique(equal_width_starts(rows.values, bins, edges))[:-1]
    return _runs(rows.hits, starts), _runs(gaps, starts), _runs(rows.counts, starts)


def _runs(amounts: FloatArray, starts: IntArray) -> FloatArray:
    return np.asarray(np.add.reduceat(amounts, starts, axis=-1)) if starts.size else amounts


def _equal_mass_bin(counts: FloatArray, bins: int) -> IntArray:
    """The bin of each value: that in which the middle of its block of ties falls, so that no block is split."""
    middle = np.cumsum(counts, -1) - counts / 2
    total = np.maximum(counts.sum(-1, keepdims=True), 1.0)
    return np.asarray(np.minimum(np.floor(bins * middle / total), bins - 1)).astype(np.int64)


def _scatter(amounts: FloatArray, member: IntArray, bins: int) -> FloatArray:
    lead = amounts.shape[:-1]
    replicates = int(np.prod(lead))
    offset = bins * np.arange(replicates)[:, None]
    flat = (member.reshape(replicates, -1) + offset).ravel()
    sums = np.bincount(flat, weights=amounts.ravel(), minlength=bins * replicates)
    return sums.astype(np.float64).reshape(*lead, bins)
