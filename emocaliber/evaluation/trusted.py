"""Trusted metrics (TER): which answers to trust, and how accurate the trusted ones are.

An answer is trusted if its confidence reaches a threshold. Choose the threshold on calibration rows: chosen on the test
rows, it is optimistic. Trusting every answer has an F1 of 2A/(1+A) at accuracy A, so a trusted F1 is informative only
relative to that.

    from emocaliber.evaluation import best_f1_threshold, count_rows, trusted_at
    threshold = best_f1_threshold(calibration_confidence, calibration_correct)
    trusted_at(count_rows(confidence, correct), threshold).f1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri

from emocaliber.evaluation.counts import Counts, FloatArray, metric, ratio
from emocaliber.evaluation.curves import TrustedCurve

Bound = Literal["Clopper-Pearson", "Wilson"]
CANDIDATES = 100
"""At most this many thresholds are tested in sequence; of more values, ones evenly spaced in the number of trusted
rows."""


@dataclass(frozen=True)
class TrustedCounts:
    """Numbers of right and wrong answers, trusted and not, (...) each. Invalid rows lower both precision and recall:
    each might have been a trusted wrong answer or an untrusted right one."""

    right_trusted: FloatArray
    wrong_trusted: FloatArray
    right_untrusted: FloatArray
    wrong_untrusted: FloatArray
    invalid: FloatArray

    @property
    def precision(self) -> FloatArray:
        """Share of the trusted answers that are right; NaN if nothing is trusted."""
        return ratio(self.right_trusted, self.right_trusted + self.wrong_trusted + self.invalid)

    @property
    def recall(self) -> FloatArray:
        """Share of the right answers that are trusted; NaN if nothing is right."""
        return ratio(self.right_trusted, self.right_trusted + self.right_untrusted + self.invalid)

    @property
    def f1(self) -> FloatArray:
        """Harmonic mean of precision and recall; 0 if no right answer is trusted."""
        missed = self.wrong_trusted + self.right_untrusted + 2 * self.invalid
        return np.nan_to_num(ratio(2 * self.right_trusted, 2 * self.right_trusted + missed))

    @property
    def accuracy(self) -> FloatArray:
        """Share of rows that are right and trusted, or wrong and not trusted."""
        return ratio(self.right_trusted + self.wrong_untrusted, self._n)

    @property
    def coverage(self) -> FloatArray:
        """Share of rows that are answered and trusted."""
        return ratio(self.right_trusted + self.wrong_trusted, self._n)

    @property
    def _n(self) -> FloatArray:
        trusted = self.right_trusted + self.wrong_trusted
        return trusted + self.right_untrusted + self.wrong_untrusted + self.invalid


def trusted_at(counts: Counts, threshold: float) -> TrustedCounts:
    """Trust every answer whose confidence is at least `threshold` (infinity: none)."""
    first = int(np.searchsorted(counts.values, threshold, side="left"))
    return TrustedCounts(
        counts.hits[..., first:].sum(-1),
        counts.misses[..., first:].sum(-1),
        counts.hits[..., :first].sum(-1),
        counts.misses[..., :first].sum(-1),
        counts.invalid,
    )


def trust_all_f1(accuracy: ArrayLike) -> FloatArray:
    """The F1 of trusting every answer at this label accuracy A: 2A/(1 + A). TER's 0.9035 corresponds to A = 0.8240."""
    share = np.asarray(accuracy, np.float64)
    return 2 * share / (1 + share)


@metric
def best_f1_threshold(counts: Counts) -> float:
    """The confidence that maximises trusted F1 as a threshold; the highest if several do."""
    f1 = _every_threshold(counts).f1
    return float(counts.values[counts.values.size - 1 - int(np.argmax(f1[::-1]))]) if f1.size else np.inf


@metric
def crossing_threshold(counts: Counts) -> float:
    """The confidence at which trusted precision and recall are closest; the highest if several are."""
    at = _every_threshold(counts)
    gap = np.nan_to_num(np.abs(at.precision - at.recall), nan=np.inf)
    return float(counts.values[counts.values.size - 1 - int(np.argmin(gap[::-1]))]) if gap.size else np.inf


@metric
def risk_threshold(
    counts: Counts, *, risk: float = 0.1, level: float = 0.95, bound: Bound = "Clopper-Pearson", minimum: int = 30
) -> float:
    """A threshold whose trusted answers have an error rate of at most `risk`, with probability `level`.

    Thresholds are tested in descending order, starting at the highest one that trusts at least `minimum` rows, until
    the upper confidence bound on the error rate first exceeds `risk`; the last one that passed is returned. Because
    this is fixed-sequence testing, the guarantee accounts for the search (Angelopoulos et al. 2021, "Learn then test").
    Infinity if not even the first passes.
    """
    trusted = np.cumsum(counts.rows[::-1])
    errors = np.cumsum(counts.misses[::-1])
    values = counts.values[::-1]
    threshold = np.inf
    for index in _sequence(trusted, minimum):
        if upper_bound(errors[index], trusted[index], level, bound) > risk:
            break
        threshold = float(values[index])
    return threshold


def upper_bound(errors: ArrayLike, n: ArrayLike, level: float, bound: Bound) -> FloatArray:
    """One-sided upper confidence bound of an error rate, given `errors` among `n` rows."""
    wrong, total = np.asarray(errors, np.float64), np.asarray(n, np.float64)
    if bound == "Clopper-Pearson":
        right = total - wrong
        return np.where(right > 0, betaincinv(wrong + 1, np.maximum(right, 1), level), 1.0)
    z = ndtri(level)
    share = wrong / total
    centre = share + z**2 / (2 * total)
    spread = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return np.asarray((centre + spread) / (1 + z**2 / total))


def trusted_curve(counts: Counts, points: int = 201) -> TrustedCurve:
    """Trusted metrics with each confidence as the threshold, or with `points` evenly spread ones if there are more."""
    at = _every_threshold(counts)
    drawn = np.unique(np.linspace(0, counts.values.size - 1, min(points, counts.values.size)).round().astype(int))

    def nullable(values: FloatArray) -> list[float | None]:
        return [None if np.isnan(value) else float(value) for value in values[drawn]]

    def defined(values: FloatArray) -> list[float]:
        return [float(value) for value in values[drawn]]

    precision, recall = nullable(at.precision), nullable(at.recall)
    return TrustedCurve(defined(counts.values), precision, recall, defined(at.accuracy), defined(at.f1))


def _every_threshold(counts: Counts) -> TrustedCounts:
    """Counts at each confidence as the threshold, (..., K)."""
    right = np.cumsum(counts.hits[..., ::-1], -1)[..., ::-1]
    wrong = np.cumsum(counts.misses[..., ::-1], -1)[..., ::-1]
    all_right, all_wrong = counts.hits.sum(-1)[..., None], counts.misses.sum(-1)[..., None]
    invalid = np.broadcast_to(counts.invalid[..., None], right.shape)
    return TrustedCounts(right, wrong, all_right - right, all_wrong - wrong, invalid)


def _sequence(trusted: FloatArray, minimum: int) -> list[int]:
    """The positions to test. They depend on the numbers of trusted rows only, not on errors, so the sequence is
    fixed."""
    eligible = np.flatnonzero(trusted >= minimum)
    if eligible.size <= CANDIDATES:
        return [int(index) for index in eligible]
    targets = np.linspace(trusted[eligible[0]], trusted[-1], CANDIDATES)
    return [int(index) for index in np.unique(np.searchsorted(trusted, targets - 1e-9))]
