"""Annotator votes: divergences of a predicted distribution from theirs (AmbER²), agreement with a label, and strata of
ambiguity.

Each divergence is a value per row, (n,), of two arrays (n, L) whose rows sum to 1; its mean is reported. R² is a ratio
of sums over rows. A confidence can be calibrated to the majority label or to a random annotator's label, but not to
both. For the latter use `count_rows(confidence, agreement(votes, predicted))`: its `brier_score` is the expected Brier
score over annotators (a(1 - c)² + (1 - a)c², in closed form) and its `ece` the ECE against agreement.

    python -c "from emocaliber.evaluation import bhattacharyya as b; print(b([[.5, .5]], [[1, 0]]))"
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr, xlogy

from emocaliber.evaluation.cells import MetricFamily, Values, distinct_rows
from emocaliber.evaluation.counts import BoolArray, FloatArray, IntArray, ratio

_MEANS = ("bhattacharyya", "hellinger", "jensen_shannon", "kl")


def distribution(values: ArrayLike, name: str) -> FloatArray:
    """The rows normalised to sum to 1. Raises ValueError naming the first row with a negative or non-finite value, or
    that sums to 0."""
    array = np.asarray(values, np.float64)
    total = array.sum(-1)
    wrong = ~np.isfinite(total) | (total <= 0) | (array < 0).any(-1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{name} of row {row} is not a distribution: {array[row].tolist()}; give shares that sum to 1")
    return np.asarray(array / total[..., None])


def bhattacharyya(annotators: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """sum of sqrt(y p), (n,), in [0, 1]; 1 where the two are identical."""
    y, p = paired(annotators, predicted)
    return np.asarray(np.minimum(np.sqrt(y * p).sum(-1), 1.0))


def hellinger(annotators: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """sqrt(1 - Bhattacharyya), (n,), in [0, 1]."""
    y, p = paired(annotators, predicted)
    return np.asarray(np.sqrt(np.sum((np.sqrt(y) - np.sqrt(p)) ** 2, -1) / 2))


def jensen_shannon(annotators: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """Jensen–Shannon divergence in bits, (n,), in [0, 1]."""
    y, p = paired(annotators, predicted)
    middle = (y + p) / 2
    return np.asarray(np.clip((rel_entr(y, middle) + rel_entr(p, middle)).sum(-1) / (2 * np.log(2)), 0.0, 1.0))


def kl(annotators: ArrayLike, predicted: ArrayLike, *, clip: float = 0.001) -> FloatArray:
    """KL(annotators || predicted) in nats, (n,), with predicted shares clipped to at least `clip`; at most
    -ln(clip)."""
    y, p = paired(annotators, predicted)
    return np.asarray(np.maximum((xlogy(y, y) - xlogy(y, np.maximum(p, clip))).sum(-1), 0.0))


def squared_residual(annotators: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """sum of (y - p)², (n,), in [0, 2]."""
    y, p = paired(annotators, predicted)
    return np.asarray(((y - p) ** 2).sum(-1))


def row_scores(annotators: FloatArray, predicted: FloatArray, usable: BoolArray, *, clip: float) -> FloatArray:
    """Columns Bhattacharyya, Hellinger, Jensen–Shannon, KL, squared residual and squared share, (n, 6), from whose sums
    `values_of_sums` computes every distributional metric. Rows that are not `usable` (n,) take the worst values."""
    columns = [
        np.where(usable, bhattacharyya(annotators, predicted), 0.0),
        np.where(usable, hellinger(annotators, predicted), 1.0),
        np.where(usable, jensen_shannon(annotators, predicted), 1.0),
        np.where(usable, kl(annotators, predicted, clip=clip), -np.log(clip)),
        np.where(usable, squared_residual(annotators, predicted), worst_residual(annotators)),
        (annotators**2).sum(-1),
    ]
    return np.column_stack(columns)


def values_of_sums(sums: FloatArray) -> dict[str, FloatArray]:
    """The metrics by name, each (...), from sums (..., 8) over rows: the columns of `row_scores`, the number of labels,
    and 1 (the number of rows)."""
    count = sums[..., 7]
    values = {name: ratio(sums[..., column], count) for column, name in enumerate(_MEANS)}
    values["r2"] = r2(sums[..., 4], sums[..., 5], count, ratio(sums[..., 6], count))
    return values


def r2(residual: ArrayLike, square: ArrayLike, rows: ArrayLike, labels: ArrayLike) -> FloatArray:
    """R² pooled over all (row, label) entries, (...). (The paper does not state its pooling; this is a reconstruction.)

    `residual` and `square` are the sums over rows of (y - p)² and of y²; `rows` is the number of rows and `labels`
    their mean number of labels, so that the mean entry is 1 / labels.
    """
    count = np.asarray(rows, np.float64)
    return 1 - ratio(residual, np.asarray(square) - count / np.asarray(labels))


def worst_residual(annotators: ArrayLike) -> FloatArray:
    """The largest possible sum of (y - p)², (n,): the prediction puts all mass on the label with the fewest votes."""
    y = np.asarray(annotators, np.float64)
    return np.asarray((y**2).sum(-1) + 1 - 2 * y.min(-1))


def entropy(annotators: ArrayLike) -> FloatArray:
    """Entropy of the annotators' distribution in nats, (n,)."""
    y = np.asarray(annotators, np.float64)
    return np.asarray(-xlogy(y, y).sum(-1))


def agreement(votes: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """Share of votes for the predicted label, (n,): `votes` (n, L) counts, `predicted` (n,) indices, -1 for none."""
    share = distribution(votes, "votes")
    label = np.asarray(predicted)
    return np.where(label >= 0, np.take_along_axis(share, np.maximum(label, 0)[:, None], 1)[:, 0], 0.0)


def plurality_label(votes: ArrayLike) -> IntArray:
    """The label with the most votes, (n,) column indices of `votes` (n, L); -1 for a tie or no votes."""
    counts = np.asarray(votes, np.float64)
    top = counts.max(-1, keepdims=True)
    alone = ((counts == top).sum(-1) == 1) & (top[:, 0] > 0)
    return np.where(alone, counts.argmax(-1), -1)


def strata(votes: ArrayLike) -> dict[str, BoolArray]:
    """Masks of the rows in each non-empty stratum, (n,), by name.

    "unanimous" (one label has every vote), "majority" (one label has more than half) and "no majority" partition the
    rows; "low", "middle" and "high entropy" are terciles of the votes' entropy, with tied values kept together.
    """
    share = distribution(votes, "votes")
    top = share.max(-1)
    spread = np.round(entropy(share), 12)
    _, inverse, counts = np.unique(spread, return_inverse=True, return_counts=True)
    third = np.minimum(3 * (np.cumsum(counts) - counts / 2) / spread.size, 2).astype(int)[inverse]
    masks = {
        "unanimous": top == 1.0,
        "majority": (top > 0.5) & (top < 1.0),
        "no majority": top <= 0.5,
        "low entropy": third == 0,
        "middle entropy": third == 1,
        "high entropy": third == 2,
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def distribution_family(
    rows: IntArray,
    votes: FloatArray,
    predicted: FloatArray,
    answered: BoolArray,
    labels_per_row: FloatArray,
    *,
    clip: float,
) -> MetricFamily:
    """The distributional metrics of rows with `votes` (n, L); rows without a `predicted` distribution (n, L) take each
    metric's worst value."""
    annotators = distribution(votes, "votes")
    usable = answered & (np.nan_to_num(predicted).sum(-1) > 0)
    guess = distribution(np.where(usable[:, None], predicted, annotators), "distribution")
    scores = row_scores(annotators, guess, usable, clip=clip)
    codes, distinct = distinct_rows(np.column_stack((scores, labels_per_row, np.ones(usable.size), usable)))
    headline = distinct[:, :-1]
    valid = headline * distinct[:, -1:]

    def statistic(counts: FloatArray) -> Values:
        sums = {"headline": counts @ headline, "answered": counts @ valid}
        return {
            f"{prefix}.{name}": value
            for prefix, columns in sums.items()
            for name, value in values_of_sums(columns).items()
        }

    return MetricFamily(rows, codes, len(distinct), statistic)


def paired(annotators: ArrayLike, predicted: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as float arrays. Raises ValueError if their shapes differ."""
    y, p = np.asarray(annotators, np.float64), np.asarray(predicted, np.float64)
    if y.shape != p.shape:
        raise ValueError(f"annotators are {y.shape}, predictions {p.shape}; both need the same rows and labels")
    return y, p
