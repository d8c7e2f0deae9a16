"""The curves of a method as stored in scorecard.json, for reports to draw.

`calibration`, `selective`, `trusted` and `work_saved` compute them, `emocaliber.reporting.curves` draws them.

    card.methods[0].find("all").curves.reliability
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of the reliability curve.

    `low` and `high` are its edges. `band_low` and `band_high` are the consistency band (Bröcker & Smith 2007): the
    range in which the bin's accuracy would fall in 95 of 100 test sets (at the default level) if the model were
    perfectly calibrated.
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
    """The number of right and wrong answers with a confidence between `low` and `high`."""

    low: float
    high: float
    right: int
    wrong: int


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Selective risk against coverage, most confident answers first; ties take their expectation over orders."""

    coverage: list[float]
    risk: list[float]


@dataclass(frozen=True, slots=True)
class TrustedCurve:
    """Trusted precision, recall, accuracy and F1 (TER) at each threshold, ascending."""

    threshold: list[float]
    precision: list[float | None]
    recall: list[float | None]
    accuracy: list[float]
    f1: list[float]


@dataclass(frozen=True, slots=True)
class WorkCurve:
    """The share of all rows that are still wrong (`left`) against the share that people have reviewed (`looked_at`):
    least confident rows first, in random order, and by ascending token probability (None if the rows have none that
    differs from their confidence)."""

    looked_at: list[float]
    left: list[float]
    at_random: list[float]
    by_probability: list[float] | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of one pooled subset. Rows without a usable confidence rank first and count as wrong in
    `risk_coverage` and `trusted`; `reliability` and `histogram` leave them out."""

    reliability: list[ReliabilityBin]
    histogram: list[HistogramBin]
    risk_coverage: RiskCoverage
    trusted: TrustedCurve
    work: WorkCurve | None = None
