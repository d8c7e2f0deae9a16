"""Discrimination: does a higher confidence go with a right answer (AUROC, average precision), and with a higher token
probability (rank correlation, "alignment")?

Any increasing transformation of the confidence leaves all of them unchanged. Ties count by their expected value over
all orders of the tied rows, in closed form, so no order of the rows matters.

    from emocaliber.evaluation import auroc
    auroc(confidence, correct)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.counts import Counts, FloatArray, IntArray, metric, ratio, unit_interval
from emocaliber.evaluation.resampling import MetricFamily, Values, distinct_rows


@metric
def auroc(counts: Counts) -> FloatArray:
    """Probability that a right answer has more confidence than a wrong one, ties one half, (...).

    NaN where every answer is right or every answer is wrong. An invalid row loses every pair, both as the right answer
    that it might have been and as the wrong one that it is: ranking it as a wrong answer at the top alone would
    reward leaving out a right answer of low confidence.
    """
    wrong_below = np.cumsum(counts.misses, -1) - counts.misses / 2
    concordant = np.einsum("...k,...k->...", counts.hits, wrong_below)
    return ratio(concordant, (counts.hits.sum(-1) + counts.invalid) * (counts.misses.sum(-1) + counts.invalid))


@metric
def average_precision(counts: Counts) -> FloatArray:
    """Mean precision at the rank of each right answer, most confident first, (...); NaN without a right answer.

    A tied block counts with its expectation over orders, where scikit-learn takes the precision at the block's end;
    without ties the two agree. Invalid rows stand at the top as wrong answers, and count as right ones never reached.
    """
    top = counts.ranked
    hits = counts.hits[..., ::-1]
    before = np.cumsum(hits, -1) - hits
    slope = np.divide(hits - 1, top.rows - 1, out=np.zeros_like(hits), where=top.rows > 1)
    block = slope * top.rows + (before + 1 - slope * (top.start + 1)) * top.harmonic
    total = (hits / np.maximum(top.rows, 1.0) * block).sum(-1)
    return ratio(total, hits.sum(-1) + counts.invalid)


def rank_correlation(confidence: ArrayLike, probability: ArrayLike) -> float:
    """Spearman's correlation of confidence and token probability, ties at their mean rank (Kumar et al. 2024,
    "Confidence under the hood"); NaN for a constant."""
    products = rank_products(unit_interval(confidence, "confidence"), unit_interval(probability, "probability"))
    return float(correlation_of_means(products.mean(0)))


def mean_gap(confidence: ArrayLike, probability: ArrayLike) -> float:
    """Mean of confidence minus token probability, in [-1, 1]."""
    return float(np.mean(unit_interval(confidence, "confidence") - unit_interval(probability, "probability")))


def rank_products(confidence: FloatArray, probability: FloatArray) -> FloatArray:
    """Columns x, y, x², y², xy of the centred mean ranks, (n, 5): their means are all that a correlation needs."""
    x, y = _mean_ranks(confidence), _mean_ranks(probability)
    return np.column_stack((x, y, x * x, y * y, x * y))


def correlation_of_means(means: FloatArray) -> FloatArray:
    """Pearson's correlation from the means of x, y, x², y², xy, (..., 5)."""
    x, y, xx, yy, xy = np.moveaxis(means, -1, 0)
    spread = np.sqrt(np.maximum(xx - x * x, 0.0) * np.maximum(yy - y * y, 0.0))
    return ratio(xy - x * y, np.where(spread > 1e-12, spread, 0.0))


def alignment_family(rows: IntArray, confidence: FloatArray, probability: FloatArray) -> MetricFamily:
    """Rank correlation and mean gap on the rows that have both. The ranks are those of the sample in every
    replicate."""
    products = rank_products(confidence, probability)
    codes, columns = distinct_rows(np.column_stack((products, confidence - probability, np.ones(confidence.size))))

    def statistic(counts: FloatArray) -> Values:
        sums = counts @ columns
        means = ratio(sums[..., :-1], sums[..., -1:])
        values = {
            "alignment_rank_correlation": correlation_of_means(means[..., :5]),
            "alignment_mean_gap": means[..., 5],
        }
        return {f"{prefix}.{name}": value for prefix in ("headline", "answered") for name, value in values.items()}

    return MetricFamily(rows, codes, len(columns), statistic)


def _mean_ranks(values: FloatArray) -> FloatArray:
    """Ranks scaled to (-1/2, 1/2), equal values at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.asarray(middle[inverse] / values.size - 0.5)
