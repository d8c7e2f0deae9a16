"""Confidence–probability alignment: does what a model states follow the token probability of its label?

Not a judgement of either against the truth.

    python -c "from emocaliber.evaluation.alignment import rank_correlation as r; print(r([.9, .5, .4], [.8, .6,
    .1]))"
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.tally import FloatArray, ratio, unit_interval


def rank_correlation(confidence: ArrayLike, probability: ArrayLike) -> float:
    """Spearman's correlation, ties at their mean rank (Kumar et al. 2024, "Confidence under the hood"); NaN for a
    constant."""
    return float(correlation_of_sums(rank_products(confidence, probability).mean(0)))


def mean_gap(confidence: ArrayLike, probability: ArrayLike) -> float:
    """Mean of stated confidence minus token probability, in [-1, 1]."""
    return float(np.mean(unit_interval(confidence, "confidence") - unit_interval(probability, "probability")))


def rank_products(confidence: ArrayLike, probability: ArrayLike) -> FloatArray:
    """Columns x, y, x², y², xy of the centred mean ranks, (n, 5): their means are all that a correlation needs."""
    x = _mean_ranks(unit_interval(confidence, "confidence"))
    y = _mean_ranks(unit_interval(probability, "probability"))
    return np.column_stack((x, y, x * x, y * y, x * y))


def correlation_of_sums(means: FloatArray) -> FloatArray:
    """Pearson's correlation from the means of x, y, x², y², xy, (..., 5)."""
    x, y, xx, yy, xy = np.moveaxis(means, -1, 0)
    spread = np.sqrt(np.maximum(xx - x * x, 0.0) * np.maximum(yy - y * y, 0.0))
    return ratio(xy - x * y, np.where(spread > 1e-12, spread, 0.0))


def _mean_ranks(values: FloatArray) -> FloatArray:
    """Ranks scaled to (-1/2, 1/2), equal values at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.asarray(middle[inverse] / values.size - 0.5)
