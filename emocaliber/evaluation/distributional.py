"""Predicted against the raters' distribution over labels (AmbER²): Bhattacharyya, Hellinger, Jensen–Shannon, KL, R².

Each is a value per row, (n,), of two arrays (n, L) whose rows sum to 1; their mean is the figure that is reported. R²
is a ratio of sums over rows. Not the stated confidence in one label (see agreement).

    python -c "from emocaliber.evaluation.distributional import bhattacharyya as b; print(b([[.5, .5]], [[1, 0]]))"
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr, xlogy

from emocaliber.evaluation.tally import FloatArray, ratio


def distribution(values: ArrayLike, name: str) -> FloatArray:
    """Rows normalised to sum to 1. Raises ValueError naming the first row that is negative, not finite, or sums to
    0."""
    array = np.asarray(values, np.float64)
    total = array.sum(-1)
    wrong = ~np.isfinite(total) | (total <= 0) | (array < 0).any(-1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{name} of row {row} is no distribution: {array[row].tolist()}; give shares that sum to 1")
    return np.asarray(array / total[..., None])


def bhattacharyya(raters: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """sum of sqrt(y p), (n,), in [0, 1]; 1 where the two are identical."""
    y, p = _pair(raters, predicted)
    return np.asarray(np.minimum(np.sqrt(y * p).sum(-1), 1.0))


def hellinger(raters: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """sqrt(1 - Bhattacharyya), (n,), in [0, 1]."""
    y, p = _pair(raters, predicted)
    return np.asarray(np.sqrt(np.sum((np.sqrt(y) - np.sqrt(p)) ** 2, -1) / 2))


def jensen_shannon(raters: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """Jensen–Shannon divergence in bits, (n,), in [0, 1]."""
    y, p = _pair(raters, predicted)
    middle = (y + p) / 2
    return np.asarray(np.clip((rel_entr(y, middle) + rel_entr(p, middle)).sum(-1) / (2 * np.log(2)), 0.0, 1.0))


def kl(raters: ArrayLike, predicted: ArrayLike, *, clip: float = 0.001) -> FloatArray:
    """KL(raters || predicted) in nats, (n,), with predicted shares below `clip` raised to it; at most -ln(clip)."""
    y, p = _pair(raters, predicted)
    return np.asarray(np.maximum((xlogy(y, y) - xlogy(y, np.maximum(p, clip))).sum(-1), 0.0))


def squared_residual(raters: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """sum of (y - p)², (n,), in [0, 2]."""
    y, p = _pair(raters, predicted)
    return np.asarray(((y - p) ** 2).sum(-1))


def r2(residual: ArrayLike, square: ArrayLike, rows: ArrayLike, labels: ArrayLike) -> FloatArray:
    """R² over all entries (row, label), (...), pooled (the paper's pooling is unknown: reconstruction).

    `residual` and `square` are the sums over rows of (y - p)² and of y²; `rows` how many; `labels` their mean number
    of labels, so that the mean entry is 1 / labels.
    """
    count = np.asarray(rows, np.float64)
    return 1 - ratio(residual, np.asarray(square) - count / np.asarray(labels))


def worst_residual(raters: ArrayLike) -> FloatArray:
    """The largest sum of (y - p)² that any prediction could have: all mass on the label with fewest votes, (n,)."""
    y = np.asarray(raters, np.float64)
    return np.asarray((y**2).sum(-1) + 1 - 2 * y.min(-1))


def entropy(raters: ArrayLike) -> FloatArray:
    """Entropy of the raters' distribution in nats, (n,)."""
    y = np.asarray(raters, np.float64)
    return np.asarray(-xlogy(y, y).sum(-1))


def _pair(raters: ArrayLike, predicted: ArrayLike) -> tuple[FloatArray, FloatArray]:
    y, p = np.asarray(raters, np.float64), np.asarray(predicted, np.float64)
    if y.shape != p.shape:
        raise ValueError(f"raters are {y.shape}, predictions {p.shape}; both need the same rows and labels")
    return y, p
