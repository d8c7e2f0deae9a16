"""Post-hoc maps from a score to a probability: temperature, isotonic and beta.

Pure functions of numpy arrays, fitted on a calibration split. Not a model: they are the floor that a stated confidence
must beat, and the source of stage 2's targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

Floats = npt.NDArray[np.float64]


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Distributions [n, k] flattened (temperature > 1) or sharpened (< 1); each row still sums to 1."""
    logs = np.log(np.clip(probabilities, 1e-12, None)) / temperature
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Floats = weights / weights.sum(axis=1, keepdims=True)
    return result


def fit_temperature(probabilities: Floats, truth: npt.NDArray[np.int64]) -> float:
    """The temperature in [0.05, 20] with the least negative log-likelihood (Guo et al. 2017, section 4.2).

    `probabilities` [n, k], rows summing to 1; `truth` [n] in [0, k). Raises ValueError where n is 0.
    """
    return fit_shared_temperature([(probabilities, truth)])


def fit_shared_temperature(groups: Sequence[tuple[Floats, npt.NDArray[np.int64]]]) -> float:
    """One temperature for several groups of rows, each of its own number of labels k: see `fit_temperature`."""
    rows = sum(len(truth) for _, truth in groups)
    if rows == 0:
        raise ValueError("a temperature needs at least one labelled row")

    def loss(log_temperature: float) -> float:
        total = 0.0
        for probabilities, truth in groups:
            chosen = tempered(probabilities, float(np.exp(log_temperature)))[np.arange(len(truth)), truth]
            total -= float(np.log(np.clip(chosen, 1e-12, None)).sum())
        return total / rows

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))


@dataclass(frozen=True)
class Temperature:
    """A probability's logit divided by `temperature`: above 1 towards one half, below 1 away from it."""

    temperature: float

    def __call__(self, values: Floats) -> Floats:
        """Probabilities [n] to probabilities [n]."""
        return tempered(np.column_stack((1 - values, values)), self.temperature)[:, 1]


@dataclass(frozen=True)
class Isotonic:
    """A monotone map: linear between the points (`x`, `y`), both ascending, and level beyond the first and last."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, values: Floats) -> Floats:
        """Probabilities [n] to probabilities [n]."""
        result: Floats = np.interp(values, self.x, self.y)
        return result


@dataclass(frozen=True)
class Beta:
    """logit(result) = a ln s - b ln(1 - s) + c, with a, b >= 0 (Kull, Silva Filho & Flach 2017, equation 4).

    The identity is a = b = 1, c = 0. `s` is clipped to [BETA_CLIP, 1 - BETA_CLIP]: a stated 1.00 has a logarithm.
    """

    a: float
    b: float
    c: float

    def __call__(self, values: Floats) -> Floats:
        """Probabilities [n] to probabilities [n]."""
        result: Floats = expit(_beta_features(values) @ np.array([self.a, self.b, self.c]))
        return result


Map = Temperature | Isotonic | Beta

BETA_CLIP = 1e-3


def fit_isotonic(confidence: Floats, correct: npt.NDArray[np.bool_]) -> Isotonic:
    """The monotone map with the least squared error from confidence [n] to correctness [n] (Zadrozny & Elkan 2002).

    Beyond the fitted range the map goes on at its end values. Raises ValueError where n is 0.
    """
    if len(correct) == 0:
        raise ValueError("an isotonic map needs at least one labelled row")
    from sklearn.isotonic import IsotonicRegression  # heavy: the verbs' help must not load it

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(confidence, correct.astype(float))
    return Isotonic(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


def fit_beta(confidence: Floats, correct: npt.NDArray[np.bool_]) -> Beta:
    """The beta map with the least negative log-likelihood, from confidence [n] to correctness [n].

    Its parameters are kept within 20 of 0, which matters only where all rows are right, or all wrong. Raises ValueError
    where n is 0.
    """
    if len(correct) == 0:
        raise ValueError("a beta map needs at least one labelled row")
    features, right = _beta_features(confidence), correct.astype(float)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        logits = features @ parameters
        slope: Floats = features.T @ (expit(logits) - right) / len(right)
        return float((np.logaddexp(0, logits) - right * logits).mean()), slope

    found = minimize(loss, [1.0, 1.0, 0.0], jac=True, bounds=[(0, 20), (0, 20), (-20, 20)], method="L-BFGS-B")
    return Beta(*found.x.tolist())


def fit_confidence_temperature(confidence: Floats, correct: npt.NDArray[np.bool_]) -> Temperature:
    """The temperature of confidence [n] as a probability of being right; see `fit_temperature`."""
    return Temperature(fit_temperature(np.column_stack((1 - confidence, confidence)), correct.astype(np.int64)))


def _beta_features(values: Floats) -> Floats:
    s = np.clip(values, BETA_CLIP, 1 - BETA_CLIP)
    return np.column_stack((np.log(s), -np.log1p(-s), np.ones(len(s))))
