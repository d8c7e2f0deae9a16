"""Trusted metrics (TER): which answers to trust, and how right the trusted ones are.

An answer is trusted when its confidence reaches a threshold. Choose the threshold on calibration rows and apply it to
test rows: chosen on the test rows it flatters. Trusting everything has the F1 2A/(1+A) at accuracy A, so a trusted F1
means only what it has above that floor. Not the risk-coverage curve (see selective).

    python -c "from emocaliber.evaluation.trusted import floor_f1; print(floor_f1(0.8240))"    # TER's published
    0.9035
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri

from emocaliber.evaluation.scorecard import TrustedCurve
from emocaliber.evaluation.tally import FloatArray, Tally, ratio

Bound = Literal["Clopper-Pearson", "Wilson"]
CANDIDATES = 100
"""At most this many thresholds are tested in sequence, evenly spaced in trusted rows where there are more values."""


@dataclass(frozen=True)
class TrustedCounts:
    """Right and wrong answers, trusted and not, each (...). Refused rows count against precision and against recall:
    they might have been wrong answers that are trusted or right ones that are not."""

    right_trusted: FloatArray
    wrong_trusted: FloatArray
    right_untrusted: FloatArray
    wrong_untrusted: FloatArray
    refused: FloatArray

    @property
    def precision(self) -> FloatArray:
        """Share of right answers among the trusted; NaN where nothing is trusted."""
        return ratio(self.right_trusted, self.right_trusted + self.wrong_trusted + self.refused)

    @property
    def recall(self) -> FloatArray:
        """Share of the right answers that are trusted; NaN where nothing is right."""
        return ratio(self.right_trusted, self.right_trusted + self.right_untrusted + self.refused)

    @property
    def f1(self) -> FloatArray:
        """Harmonic mean of precision and recall; 0 where no right answer is trusted."""
        missed = self.wrong_trusted + self.right_untrusted + 2 * self.refused
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
        return trusted + self.right_untrusted + self.wrong_untrusted + self.refused


def trusted_at(rows: Tally, threshold: float) -> TrustedCounts:
    """Trust every answer whose confidence is at least `threshold` (infinity: none)."""
    first = int(np.searchsorted(rows.values, threshold, side="left"))
    return TrustedCounts(
        rows.hits[..., first:].sum(-1),
        rows.misses[..., first:].sum(-1),
        rows.hits[..., :first].sum(-1),
        rows.misses[..., :first].sum(-1),
        rows.refused,
    )


def floor_f1(accuracy: ArrayLike) -> FloatArray:
    """The F1 of trusting everything at this label accuracy: 2A/(1 + A)."""
    share = np.asarray(accuracy, np.float64)
    return 2 * share / (1 + share)


def best_f1_threshold(rows: Tally) -> float:
    """The threshold of greatest trusted F1 among the stated values; the highest where several are best."""
    f1 = _every_threshold(rows).f1
    return float(rows.values[rows.values.size - 1 - int(np.argmax(f1[::-1]))]) if f1.size else np.inf


def crossing_threshold(rows: Tally) -> float:
    """The stated value at which trusted precision and recall are closest; the highest where several are."""
    counts = _every_threshold(rows)
    gap = np.nan_to_num(np.abs(counts.precision - counts.recall), nan=np.inf)
    return float(rows.values[rows.values.size - 1 - int(np.argmin(gap[::-1]))]) if gap.size else np.inf


def risk_threshold(
    rows: Tally, *, risk: float = 0.1, confidence: float = 0.95, bound: Bound = "Clopper-Pearson", minimum: int = 30
) -> float:
    """The lowest threshold whose trusted answers have an error rate of at most `risk`, with probability `confidence`.

    Thresholds are tested from the highest that trusts at least `minimum` rows downwards, and testing stops at the
    first whose upper bound exceeds `risk`: a fixed sequence, so the guarantee survives the search (Angelopoulos et
    al. 2021, "Learn then test"). Infinity where not even the first passes.
    """
    trusted = np.cumsum(rows.counts[::-1])
    errors = np.cumsum(rows.misses[::-1])
    values = rows.values[::-1]
    chosen = np.inf
    for index in _sequence(trusted, minimum):
        if upper_bound(errors[index], trusted[index], confidence, bound) > risk:
            break
        chosen = float(values[index])
    return chosen


def upper_bound(errors: ArrayLike, n: ArrayLike, confidence: float, bound: Bound) -> FloatArray:
    """One-sided upper confidence bound of an error rate, given `errors` among `n` rows."""
    wrong, total = np.asarray(errors, np.float64), np.asarray(n, np.float64)
    if bound == "Clopper-Pearson":
        right = total - wrong
        return np.where(right > 0, betaincinv(wrong + 1, np.maximum(right, 1), confidence), 1.0)
    z = ndtri(confidence)
    share = wrong / total
    centre = share + z**2 / (2 * total)
    spread = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return np.asarray((centre + spread) / (1 + z**2 / total))


def trusted_curve(rows: Tally, points: int = 201) -> TrustedCurve:
    """Trusted metrics at every stated value, or at `points` of them evenly spread where there are more."""
    counts = _every_threshold(rows)
    kept = np.unique(np.linspace(0, rows.values.size - 1, min(points, rows.values.size)).round().astype(int))

    def at(metric: FloatArray) -> list[float | None]:
        return [None if np.isnan(value) else float(value) for value in metric[kept]]

    def defined(metric: FloatArray) -> list[float]:
        return [float(value) for value in metric[kept]]

    return TrustedCurve(
        defined(rows.values), at(counts.precision), at(counts.recall), defined(counts.accuracy), defined(counts.f1)
    )


def _every_threshold(rows: Tally) -> TrustedCounts:
    """Counts at each stated value as the threshold, (..., K)."""
    right = np.cumsum(rows.hits[..., ::-1], -1)[..., ::-1]
    wrong = np.cumsum(rows.misses[..., ::-1], -1)[..., ::-1]
    all_right, all_wrong = rows.hits.sum(-1)[..., None], rows.misses.sum(-1)[..., None]
    refused = np.broadcast_to(rows.refused[..., None], right.shape)
    return TrustedCounts(right, wrong, all_right - right, all_wrong - wrong, refused)


def _sequence(trusted: FloatArray, minimum: int) -> list[int]:
    """Positions to test, by the number of trusted rows alone: a sequence that looked at errors would not be fixed."""
    eligible = np.flatnonzero(trusted >= minimum)
    if eligible.size <= CANDIDATES:
        return [int(index) for index in eligible]
    targets = np.linspace(trusted[eligible[0]], trusted[-1], CANDIDATES)
    return [int(index) for index in np.unique(np.searchsorted(trusted, targets - 1e-9))]
