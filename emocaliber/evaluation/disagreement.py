"""Calibration to human disagreement (Baan, Aziz, Plank, Fernández 2022, "Stop measuring calibration when humans
disagree", arXiv 2210.16133): does a predicted distribution match the raters' shares, their ranking and their entropy?

Each metric is a value per row, (n,), of two arrays (n, L) whose rows sum to 1. The entropy of few votes is biased
downwards (three raters of a 50:50 item agree one time in four), so even a perfect model has an EntCE above 0: compare
it between models on the same votes. DistCE is above 0 for the same reason.

    from emocaliber.evaluation import distce, entce, entropy_rank_correlation, rankcs
    distce([[0.6, 0.4]], [[0.9, 0.1]])        # [0.3]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.cells import MetricFamily, Values, distinct_rows
from emocaliber.evaluation.counts import BoolArray, FloatArray, IntArray, ratio
from emocaliber.evaluation.discrimination import correlation_of_means, rank_products
from emocaliber.evaluation.distributional import distribution, entropy, paired


def distce(annotators: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """Total variation distance, sum of |y - p| / 2, (n,), in [0, 1]."""
    y, p = paired(annotators, predicted)
    return np.asarray(np.abs(y - p).sum(-1) / 2)


def entce(annotators: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """Entropy of the prediction minus that of the annotators, in nats, (n,): negative where the model is surer.

    The sign follows the authors' code.
    """
    y, p = paired(annotators, predicted)
    return np.asarray(entropy(p) - entropy(y))


def rankcs(annotators: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """1 where the prediction ranks the labels as the annotators do, else 0, (n,).

    Labels with equal votes may be predicted in either order; a tie in the prediction between labels with different
    votes is an error. Without ties this is the paper's argsort(y) = argsort(p), which breaks ties by label order.
    """
    y, p = paired(annotators, predicted)
    by_share = np.lexsort((p, y), axis=-1)  # ties in y in the order of p, so that comparing neighbours suffices
    shares, guesses = np.take_along_axis(y, by_share, -1), np.take_along_axis(p, by_share, -1)
    highest = np.maximum.accumulate(guesses, -1)[..., :-1]
    wrong = (shares[..., 1:] > shares[..., :-1]) & (guesses[..., 1:] <= highest)
    return np.asarray(1.0 - wrong.any(-1))


def entropy_rank_correlation(annotators: ArrayLike, predicted: ArrayLike) -> float:
    """Spearman's correlation of the predicted entropies with the annotators', ties at their mean rank; NaN if either is
    constant."""
    y, p = paired(annotators, predicted)
    return float(correlation_of_means(_ranked_entropies(y, p).mean(0)))


def disagreement_family(
    rows: IntArray, votes: FloatArray, predicted: FloatArray, answered: BoolArray, labels_per_row: FloatArray
) -> MetricFamily:
    """The metrics above, of rows with `votes` (n, L).

    A row without a `predicted` distribution (n, L) takes DistCE 1, RankCS 0 and the largest |EntCE| that its number of
    labels allows. The signed EntCE and the correlation are descriptive and leave such rows out. Replicates reuse the
    ranks of the sample.
    """
    y = distribution(votes, "votes")
    usable = answered & (np.nan_to_num(predicted).sum(-1) > 0)
    p = distribution(np.where(usable[:, None], predicted, y), "distribution")
    given, signed, spread = usable.astype(np.float64), entce(y, p), entropy(y)
    worst = np.maximum(spread, np.log(labels_per_row) - spread)
    products = np.zeros((rows.size, 5))
    if usable.any():
        products[usable] = _ranked_entropies(y[usable], p[usable])
    columns = np.column_stack(
        (
            np.where(usable, distce(y, p), 1.0),
            np.where(usable, np.abs(signed), worst),
            np.where(usable, rankcs(y, p), 0.0),
            signed * given,
            products,
            given,
            np.ones(rows.size),
        )
    )
    codes, distinct = distinct_rows(columns)
    valid = distinct * distinct[:, -2:-1]

    def measured(counts: FloatArray, cells: FloatArray) -> Values:
        sums = counts @ cells
        described = ratio(sums[..., 3:9], sums[..., -2:-1])
        return {
            "distce": ratio(sums[..., 0], sums[..., -1]),
            "entce": described[..., 0],
            "entce_absolute": ratio(sums[..., 1], sums[..., -1]),
            "rankcs": ratio(sums[..., 2], sums[..., -1]),
            "entropy_rank_correlation": correlation_of_means(described[..., 1:]),
        }

    def statistic(counts: FloatArray) -> Values:
        sides = {"headline": measured(counts, distinct), "answered": measured(counts, valid)}
        return {f"{prefix}.{name}": value for prefix, values in sides.items() for name, value in values.items()}

    return MetricFamily(rows, codes, len(distinct), statistic)


def _ranked_entropies(annotators: FloatArray, predicted: FloatArray) -> FloatArray:
    """`rank_products` of the entropies, (n, 5), rounded so that equal entropies tie despite rounding errors."""
    return rank_products(np.round(entropy(predicted), 12), np.round(entropy(annotators), 12))
