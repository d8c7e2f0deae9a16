"""Reliability curve with counts and consistency bands, and the histogram of stated confidences.

Not a drawing (see emocaliber.reporting) and not an error in one number (see calibration).

    emocaliber score predictions.jsonl --out results      writes the curves into results/scorecard.json
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.special import bdtr, bdtrik

from emocaliber.evaluation.calibration import Edges, equal_width_starts
from emocaliber.evaluation.scorecard import HistogramBin, ReliabilityBin
from emocaliber.evaluation.tally import FloatArray, Tally


def reliability_curve(
    rows: Tally, *, bins: int = 10, edges: Edges = "right", level: float = 0.95
) -> list[ReliabilityBin]:
    """One entry per equal-width bin that holds rows, with the `level` consistency band (Bröcker & Smith 2007).

    The band is the binomial's, at the bin's mean confidence: in closed form, and slightly wider than that of rows
    whose confidences differ within the bin.
    """
    starts = equal_width_starts(rows.values, bins, edges).tolist()
    curve = []
    for number, (first, last) in enumerate(pairwise(starts)):
        count = round(float(rows.counts[first:last].sum()))
        if count == 0:
            continue
        mean = float(rows.counts[first:last] @ rows.values[first:last]) / count
        low, high = consistency_band(count, min(mean, 1.0), level)
        share = float(rows.hits[first:last].sum()) / count
        curve.append(ReliabilityBin(number / bins, (number + 1) / bins, count, mean, share, low, high))
    return curve


def consistency_band(count: int, probability: float, level: float = 0.95) -> tuple[float, float]:
    """The central `level` range of the share of successes among `count` draws of `probability`."""
    tail = (1 - level) / 2
    return _quantile(tail, count, probability) / count, _quantile(1 - tail, count, probability) / count


def histogram(rows: Tally, *, bins: int = 20, edges: Edges = "right") -> list[HistogramBin]:
    """Right and wrong answers in `bins` equal-width bins of confidence, empty ones included."""
    starts = equal_width_starts(rows.values, bins, edges)

    def inside(amounts: FloatArray, number: int) -> int:
        return round(float(amounts[starts[number] : starts[number + 1]].sum()))

    return [
        HistogramBin(number / bins, (number + 1) / bins, inside(rows.hits, number), inside(rows.misses, number))
        for number in range(bins)
    ]


def _quantile(share: float, count: int, probability: float) -> float:
    """The smallest k whose binomial distribution function reaches `share`."""
    if probability in {0.0, 1.0}:
        return count * probability
    k = max(0.0, np.ceil(bdtrik(share, count, probability)))
    return k - 1 if k > 0 and bdtr(k - 1, count, probability) >= share else float(k)
