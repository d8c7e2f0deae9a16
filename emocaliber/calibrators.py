"""Post-hoc maps from a score to a probability: temperature for distributions, isotonic for confidences.

Pure functions of numpy arrays, fitted on a calibration split. Not a model: they are the floor that a stated confidence
must beat, and the source of stage 2's targets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

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
    if len(truth) == 0:
        raise ValueError("a temperature needs at least one labelled row")

    def loss(log_temperature: float) -> float:
        chosen = tempered(probabilities, float(np.exp(log_temperature)))[np.arange(len(truth)), truth]
        return float(-np.log(np.clip(chosen, 1e-12, None)).mean())

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))


def fit_isotonic(confidence: Floats, correct: npt.NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """The monotone map with the least squared error from confidence [n] to correctness [n] (Zadrozny & Elkan 2002).

    Beyond the fitted range the map goes on at its end values. Raises ValueError where n is 0.
    """
    if len(correct) == 0:
        raise ValueError("an isotonic map needs at least one labelled row")
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(confidence, correct.astype(float))

    def apply(values: Floats) -> Floats:
        result: Floats = fitted.predict(values)
        return result

    return apply
