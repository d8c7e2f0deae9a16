"""Post-hoc maps from a score s in [0, 1] to the probability of being right, as pure functions of numpy arrays.

| map | probability | source |
|---|---|---|
| temperature | sigmoid(logit(s) / T); of a distribution, softmax(log p / T) | Guo et al. 2017, section 4.2 |
| platt | sigmoid(a logit(s) + b), a >= 0 | Platt 1999 |
| beta | sigmoid(a ln s - b ln(1 - s) + c), a, b >= 0 | Kull, Silva Filho & Flach 2017, equation 4 |
| isotonic | the monotone function with the least squared error | Zadrozny & Elkan 2002 |

For Venn-Abers see venn_abers, for maps of distributions matrix, for maps of several signals learners. The maps here
never reverse the order of two confidences. All but isotonic minimise the negative log-likelihood. Confidences are
clipped to [CLIP, 1 - CLIP] before the logarithm: a stated 1.00 counts as .999, because certainty has no finite logit.

    from emocaliber.calibration.maps import fit_beta
    calibrated = fit_beta(confidence, correct)(new_confidence)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

COLDEST, HOTTEST = 0.05, 20.0
"""The bounds of every temperature."""
STEEPEST = 20.0
"""The bound of every slope, and of every intercept's absolute value."""
CLIP = 1e-3
"""Single confidences are clipped to [CLIP, 1 - CLIP] before their logarithm is taken."""


@dataclass(frozen=True)
class Temperature:
    """logit(result) = logit(s) / `temperature`: above 1 it moves confidences towards one half, below 1 away from it."""

    temperature: float

    def __call__(self, values: Floats) -> Floats:
        """Confidences [n] to probabilities [n]."""
        result: Floats = expit(_logit(values) / self.temperature)
        return result


@dataclass(frozen=True)
class Platt:
    """logit(result) = a logit(s) + b. The identity is a = 1, b = 0; a = 1 / T, b = 0 is a temperature."""

    a: float
    b: float

    def __call__(self, values: Floats) -> Floats:
        """Confidences [n] to probabilities [n]."""
        result: Floats = expit(self.a * _logit(values) + self.b)
        return result


@dataclass(frozen=True)
class Beta:
    """logit(result) = a ln s - b ln(1 - s) + c. The identity is a = b = 1, c = 0; a = b is Platt's map."""

    a: float
    b: float
    c: float

    def __call__(self, values: Floats) -> Floats:
        """Confidences [n] to probabilities [n]."""
        s = np.clip(values, CLIP, 1 - CLIP)
        result: Floats = expit(self.a * np.log(s) - self.b * np.log1p(-s) + self.c)
        return result


@dataclass(frozen=True)
class Isotonic:
    """A monotone map: linear between the points (`x`, `y`), both ascending, and constant beyond the first and last."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, values: Floats) -> Floats:
        """Confidences [n] to probabilities [n]."""
        result: Floats = np.interp(values, self.x, self.y)
        return result


Curve = Temperature | Platt | Beta | Isotonic


def fit_confidence_temperature(confidence: Floats, correct: Bools) -> Temperature:
    """Fit the temperature of confidences [n] to correctness [n]. Raises ValueError if n is 0."""
    _refuse_no_rows(correct, "a temperature")
    logits, right = _logit(confidence), correct.astype(float)
    return Temperature(search_temperature(lambda t: _negative_log_likelihood(logits / t, right)))


def fit_platt(confidence: Floats, correct: Bools) -> Platt:
    """Fit Platt's map of confidences [n] to correctness [n]. Raises ValueError if n is 0."""
    _refuse_no_rows(correct, "Platt's map")
    features = np.column_stack((_logit(confidence), np.ones(len(correct))))
    return Platt(*_fit_logistic(features, correct, [1.0, 0.0], [(0, STEEPEST), (-STEEPEST, STEEPEST)]))


def fit_beta(confidence: Floats, correct: Bools) -> Beta:
    """Fit the beta map of confidences [n] to correctness [n]. Raises ValueError if n is 0.

    Its parameters are bounded by STEEPEST in absolute value, which matters only for (nearly) separable rows.
    """
    _refuse_no_rows(correct, "a beta map")
    bounds = [(0, STEEPEST), (0, STEEPEST), (-STEEPEST, STEEPEST)]
    return Beta(*_fit_logistic(_beta_features(confidence), correct, [1.0, 1.0, 0.0], bounds))


def fit_isotonic(confidence: Floats, correct: Bools | Floats) -> Isotonic:
    """Fit the isotonic map of confidences [n] to correctness or shares [n], constant beyond the fitted range.

    Raises ValueError if n is 0.
    """
    _refuse_no_rows(correct, "an isotonic map")
    from sklearn.isotonic import IsotonicRegression  # slow import, which the commands' --help must avoid

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(confidence, correct.astype(float))
    return Isotonic(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Distributions [n, k] flattened (temperature > 1) or sharpened (temperature < 1); rows still sum to 1."""
    logs = np.log(np.clip(probabilities, 1e-12, None)) / temperature
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Floats = weights / weights.sum(axis=1, keepdims=True)
    return result


def fit_temperature(probabilities: Floats, truth: npt.NDArray[np.int64]) -> float:
    """Fit the temperature of distributions [n, k] with true labels [n] in [0, k). Raises ValueError if n is 0."""
    return fit_shared_temperature([(probabilities, truth)])


def fit_shared_temperature(groups: Sequence[tuple[Floats, npt.NDArray[np.int64]]]) -> float:
    """Fit one temperature for several groups of rows that differ in their number of labels: see `fit_temperature`."""
    rows = sum(len(truth) for _, truth in groups)
    if rows == 0:
        raise ValueError("a temperature needs at least one labelled row")

    def loss(temperature: float) -> float:
        total = 0.0
        for probabilities, truth in groups:
            chosen = tempered(probabilities, temperature)[np.arange(len(truth)), truth]
            total -= float(np.log(np.clip(chosen, 1e-12, None)).sum())
        return total / rows

    return search_temperature(loss)


def search_temperature(loss: Callable[[float], float]) -> float:
    """The temperature in [COLDEST, HOTTEST] with the least `loss`, by Brent's method on its logarithm."""
    from scipy.optimize import minimize_scalar  # slow import, which commands that fit nothing must avoid

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    best = minimize_scalar(lambda log: loss(float(np.exp(log))), bounds=bounds, method="bounded")
    return float(np.exp(best.x))


def bound_reached(fitted: Curve) -> str | None:
    """A warning if a parameter ended at its bound, so that the map is not to be relied on; else None."""
    if isinstance(fitted, Isotonic):
        return None
    if isinstance(fitted, Temperature):
        for bound, meaning in ((HOTTEST, "every value becomes nearly 0.5"), (COLDEST, "values become nearly 0 or 1")):
            if np.isclose(fitted.temperature, bound, rtol=1e-3):
                return f"the temperature reached its bound {bound:g}: {meaning}"
        return None
    slopes = [fitted.a] if isinstance(fitted, Platt) else [fitted.a, fitted.b]
    if max(slopes) < 1e-6:
        return "the slope reached its bound 0: answers with higher values were not right more often, so it is constant"
    intercept = fitted.b if isinstance(fitted, Platt) else fitted.c
    if max(*slopes, abs(intercept)) > STEEPEST - 1e-6:
        return f"a parameter reached its bound {STEEPEST:g}: right and wrong rows do not overlap in these values"
    return None


def _fit_logistic(
    features: Floats, correct: Bools, start: list[float], bounds: list[tuple[float, float]]
) -> list[float]:
    """The parameters [d] of sigmoid(features [n, d] @ parameters) with the least negative log-likelihood."""
    from scipy.optimize import minimize  # slow import, as above

    right = correct.astype(float)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        logits = features @ parameters
        slope: Floats = features.T @ (expit(logits) - right) / len(right)
        return _negative_log_likelihood(logits, right), slope

    result: list[float] = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x.tolist()
    return result


def _negative_log_likelihood(logits: Floats, right: Floats) -> float:
    return float((np.logaddexp(0, logits) - right * logits).mean())


def _logit(values: Floats) -> Floats:
    result: Floats = logit(np.clip(values, CLIP, 1 - CLIP))
    return result


def _beta_features(values: Floats) -> Floats:
    s = np.clip(values, CLIP, 1 - CLIP)
    return np.column_stack((np.log(s), -np.log1p(-s), np.ones(len(s))))


def _refuse_no_rows(correct: Bools | Floats, what: str) -> None:
    if len(correct) == 0:
        raise ValueError(f"{what} needs at least one labelled row")
