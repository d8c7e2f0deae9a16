"""What a report draws of a method: the points of its curves, as they stand in scorecard.json.

`calibration`, `selective`, `trusted` and `work_saved` compute them, `emocaliber.reporting.curves` draws them.

    card.methods[0].find("all").curves.reliability
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of the reliability curve.

    `low` and `high` are its edges; `band_low` and `band_high` hold the share of right answers that a perfectly
    calibrated model with these confidences would show in 95 of 100 test sets (consistency band, Bröcker & Smith
    2007).
    """

    low: float
    high: float
    count: int
    mean_confidence: float
    accuracy: float
    band_low: float
    band_high: float


@dataclass(frozen=True, slots=True)
class HistogramBin:
    """How many answers have a confidence between `low` and `high`, split by whether they are right."""

    low: float
    high: float
    right: int
    wrong: int


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Selective risk against coverage, most confident answers first; ties at their expected value over orders."""

    coverage: list[float]
    risk: list[float]


@dataclass(frozen=True, slots=True)
class TrustedCurve:
    """Trusted precision, recall, accuracy and F1 (TER) against the threshold, ascending."""

    threshold: list[float]
    precision: list[float | None]
    recall: list[float | None]
    accuracy: list[float]
    f1: list[float]


@dataclass(frozen=True, slots=True)
class WorkCurve:
    """The share of all rows that is wrong against the share that people have looked at: the most doubtful first, in
    random order, and by the label's token probability (None where the rows have none beside their confidence)."""

    looked_at: list[float]
    left: list[float]
    at_random: list[float]
    by_probability: list[float] | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """What a report draws for one pooled subset. Rows without a usable confidence count as wrong at the top of the
    ranking in `risk_coverage` and `trusted`; they have no place in `reliability` and `histogram`."""

    reliability: list[ReliabilityBin]
    histogram: list[HistogramBin]
    risk_coverage: RiskCoverage
    trusted: TrustedCurve
    work: WorkCurve | None = None
