"""Discrimination: do right answers have higher confidence (AUROC, average precision), and does the confidence rise with
the token probability (rank correlation, "alignment")?

All of them are invariant to increasing transformations of the confidence, except the mean gap. Ties take their
expectation over all orders of the tied rows, in closed form, so the order of the rows does not matter.

    from emocaliber.evaluation import auroc
    auroc(confidence, correct)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.cells import MetricFamily, Values, distinct_rows
from emocaliber.evaluation.counts import Counts, FloatArray, IntArray, metric, ratio, unit_interval


@metric
def auroc(counts: Counts) -> FloatArray:
    """Probability that a right answer has higher confidence than a wrong one, ties counting one half, (...).

    NaN where all answers are right or all are wrong. An invalid row loses every pair twice, as a wrong answer and as
    the right answer that it might have been: merely ranking it first as a wrong answer would reward omitting the
    confidence of a right answer with low confidence.
    """
    wrong_below = np.cumsum(counts.misses, -1) - counts.misses / 2
    concordant = np.einsum("...k,...k->...", counts.hits, wrong_below)
    return ratio(concordant, (counts.hits.sum(-1) + counts.invalid) * (counts.misses.sum(-1) + counts.invalid))


@metric
def average_precision(counts: Counts) -> FloatArray:
    """Mean precision at the rank of each right answer, most confident first, (...); NaN without a right answer.

    A block of ties takes its expectation over orders; scikit-learn uses the precision at the end of the block. Without
    ties the two agree. Invalid rows rank first as wrong answers, and also count as right answers that are never found.
    """
    top = counts.tie_blocks
    hits = counts.hits[..., ::-1]
    before = np.cumsum(hits, -1) - hits
    slope = np.divide(hits - 1, top.rows - 1, out=np.zeros_like(hits), where=top.rows > 1)
    block = slope * top.rows + (before + 1 - slope * (top.start + 1)) * top.harmonic
    total = (hits / np.maximum(top.rows, 1.0) * block).sum(-1)
    return ratio(total, hits.sum(-1) + counts.invalid)


def rank_correlation(confidence: ArrayLike, probability: ArrayLike) -> float:
    """Spearman's correlation of confidence and token probability, ties at their mean rank (Kumar et al. 2024,
    "Confidence under the hood"); NaN if either is constant."""
    products = rank_products(unit_interval(confidence, "confidence"), unit_interval(probability, "probability"))
    return float(correlation_of_means(products.mean(0)))


def mean_gap(confidence: ArrayLike, probability: ArrayLike) -> float:
    """Mean of confidence minus token probability, in [-1, 1]."""
    return float(np.mean(unit_interval(confidence, "confidence") - unit_interval(probability, "probability")))


def rank_products(confidence: FloatArray, probability: FloatArray) -> FloatArray:
    """Columns x, y, x², y², xy of the centred mean ranks, (n, 5); their means determine the correlation."""
    x, y = _mean_ranks(confidence), _mean_ranks(probability)
    return np.column_stack((x, y, x * x, y * y, x * y))


def correlation_of_means(means: FloatArray) -> FloatArray:
    """Pearson's correlation from the means of x, y, x², y², xy, (..., 5)."""
    x, y, xx, yy, xy = np.moveaxis(means, -1, 0)
    spread = np.sqrt(np.maximum(xx - x * x, 0.0) * np.maximum(yy - y * y, 0.0))
    return ratio(xy - x * y, np.where(spread > 1e-12, spread, 0.0))


def alignment_family(rows: IntArray, confidence: FloatArray, probability: FloatArray) -> MetricFamily:
    """Rank correlation and mean gap, of rows with both values. Replicates reuse the ranks of the sample."""
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
    """Ranks scaled to (-1/2, 1/2), ties at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.asarray(middle[inverse] / values.size - 0.5)
