"""Structured matrix scaling: a map of an entire distribution over labels, which can correct biases between labels.

Berta, Holzmüller, Jordan & Bach 2026 ("Structured matrix scaling for multi-class calibration"): the logits of the
temperature-scaled distribution are multiplied by a matrix, plus an intercept per label. Intercepts, diagonal and
off-diagonal entries are each shrunk towards the identity by a ridge penalty that decreases with the number of rows. The
objective is that of probmetrics' default (SMSCalibrator, ridge); eval/benchmarks/floors.py compares the two.

    fit_matrix(labels, probabilities, truth).scaled({"joy": 0.7, "fear": 0.3})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emocaliber.calibration.maps import Floats, fit_temperature, shares_of_truth, tempered


@dataclass(frozen=True)
class Matrix:
    """`weights` [k, k + 1] for the k `labels` in this order, with the intercepts in the last column. `even` is the
    share of the uniform distribution mixed in before the logarithm, 1 / (number of fitting rows + 1)."""

    labels: tuple[str, ...]
    temperature: float
    even: float
    weights: tuple[tuple[float, ...], ...]

    def scaled(self, shares: Mapping[str, float]) -> dict[str, float]:
        """The mapped distribution, summing to 1. Raises KeyError if a label is missing."""
        own = self(np.array([[shares[label] for label in self.labels]]))[0]
        return dict(zip(self.labels, own.tolist(), strict=True))

    def __call__(self, probabilities: Floats) -> Floats:
        """Map distributions [n, k] to distributions [n, k]."""
        logits = _logits(probabilities, self.temperature, self.even)
        weights = np.array(self.weights)
        return _softmax(logits @ weights[:, :-1].T + weights[:, -1])


def fit_matrix(labels: Sequence[str], probabilities: Floats, truth: npt.NDArray[np.int64] | Floats) -> Matrix:
    """Fit the map of distributions [n, k] to true labels [n] in [0, k), or to the raters' distributions [n, k].

    Raises ValueError if n is 0, or if a row of the raters' does not sum to 1.
    """
    from scipy.optimize import minimize  # slow import, which commands that fit nothing must avoid

    n, k = probabilities.shape
    wanted = shares_of_truth(truth, k)
    temperature, even = fit_temperature(probabilities, wanted), 1 / (n + 1)
    logits, diagonal = _logits(probabilities, temperature, even), np.eye(k, dtype=bool)
    ridge = np.column_stack([np.where(diagonal, k, k * (k - 1)), np.full(k, k)]) / n
    inputs = np.column_stack([logits, np.ones(n)])

    def loss(flat: Floats) -> tuple[float, Floats]:
        change = flat.reshape(k, k + 1)
        shares = _softmax(logits + inputs @ change.T)
        likelihood = (wanted * np.log(np.clip(shares, 1e-300, None))).sum(axis=1)
        slope: Floats = (shares - wanted).T @ inputs / n + 2 * ridge * change
        return float(-likelihood.mean() + (ridge * change**2).sum()), slope.ravel()

    change = minimize(loss, np.zeros(k * (k + 1)), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    weights = change.reshape(k, k + 1) + np.eye(k, k + 1)
    return Matrix(tuple(labels), temperature, even, tuple(map(tuple, weights.tolist())))


def _logits(probabilities: Floats, temperature: float, even: float) -> Floats:
    mixed = (1 - even) * tempered(probabilities, temperature) + even / probabilities.shape[1]
    result: Floats = np.log(mixed)
    return result


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = weights / weights.sum(axis=1, keepdims=True)
    return result
