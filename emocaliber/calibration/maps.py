"""Post-hoc maps from a score s in [0, 1] to the probability of being right, as pure functions of numpy arrays.

| map | probability | source |
|---|---|---|
| temperature | sigmoid(logit(s) / T); of a distribution, softmax(log p / T) | Guo et al. 2017, section 4.2 |
| platt | sigmoid(a logit(s) + b), a >= 0 | Platt 1999 |
| beta | sigmoid(a ln s - b ln(1 - s) + c), a, b >= 0 | Kull, Silva Filho & Flach 2017, equation 4 |
| isotonic | the monotone function with the least squared error | Zadrozny & Elkan 2002 |

For Venn-Abers see venn_abers, for maps of distributions matrix, for maps of several signals learners. The maps here
never reverse the order of two confidences. All but isotonic minimise the negative log-likelihood. Each may be fitted to
whether answers were right or to the share of raters who chose them (see targets). Confidences are clipped to
[CLIP, 1 - CLIP] before the logarithm: a stated 1.00 counts as .999, because certainty has no finite logit.

    from emocaliber.calibration.maps import fit_beta
    calibrated = fit_beta(confidence, correct)(new_confidence)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

if TYPE_CHECKING:
    from emocaliber.calibration.targets import Target

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


def fit_confidence_temperature(confidence: Floats, correct: Bools | Floats) -> Temperature:
    """Fit the temperature of confidences [n] to correctness or shares [n]. Raises ValueError if n is 0 or a share is
    not in [0, 1]."""
    logits, right = _logit(confidence), _targets(correct, "a temperature")
    return Temperature(search_temperature(lambda t: _negative_log_likelihood(logits / t, right)))


def fit_platt(confidence: Floats, correct: Bools | Floats) -> Platt:
    """Fit Platt's map of confidences [n] to correctness or shares [n]. Raises ValueError if n is 0 or a share is not in
    [0, 1]."""
    right = _targets(correct, "Platt's map")
    features = np.column_stack((_logit(confidence), np.ones(len(right))))
    return Platt(*_fit_logistic(features, right, [1.0, 0.0], [(0, STEEPEST), (-STEEPEST, STEEPEST)]))


def fit_beta(confidence: Floats, correct: Bools | Floats) -> Beta:
    """Fit the beta map of confidences [n] to correctness or shares [n]. Raises ValueError if n is 0 or a share is not
    in [0, 1].

    Its parameters are bounded by STEEPEST in absolute value, which matters only for (nearly) separable rows.
    """
    right = _targets(correct, "a beta map")
    bounds = [(0, STEEPEST), (0, STEEPEST), (-STEEPEST, STEEPEST)]
    return Beta(*_fit_logistic(_beta_features(confidence), right, [1.0, 1.0, 0.0], bounds))


def fit_isotonic(confidence: Floats, correct: Bools | Floats) -> Isotonic:
    """Fit the isotonic map of confidences [n] to correctness or shares [n], constant beyond the fitted range.

    Raises ValueError if n is 0 or a share is not in [0, 1].
    """
    right = _targets(correct, "an isotonic map")
    from sklearn.isotonic import IsotonicRegression  # slow import, which the commands' --help must avoid

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(confidence, right)
    return Isotonic(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Distributions [n, k] flattened (temperature > 1) or sharpened (temperature < 1); rows still sum to 1."""
    logs = np.log(np.clip(probabilities, 1e-12, None)) / temperature
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Floats = weights / weights.sum(axis=1, keepdims=True)
    return result


def fit_temperature(probabilities: Floats, truth: npt.NDArray[np.int64] | Floats) -> float:
    """Fit the temperature of distributions [n, k] to true labels [n] in [0, k), or to the raters' distributions [n, k].

    Raises ValueError if n is 0, or if a row of the raters' does not sum to 1.
    """
    return fit_shared_temperature([(probabilities, shares_of_truth(truth, probabilities.shape[1]))])


def fit_shared_temperature(groups: Sequence[tuple[Floats, Floats]]) -> float:
    """Fit one temperature for several groups of distributions and targets [n, k] that differ in k: see
    `fit_temperature`."""
    rows = sum(len(truth) for _, truth in groups)
    if rows == 0:
        raise ValueError("a temperature needs at least one labelled row")

    def loss(temperature: float) -> float:
        total = 0.0
        for probabilities, truth in groups:
            logs = np.log(np.clip(tempered(probabilities, temperature), 1e-12, None))
            total -= float((truth * logs).sum(axis=1).sum())
        return total / rows

    return search_temperature(loss)


def shares_of_truth(truth: npt.NDArray[np.int64] | Floats, k: int) -> Floats:
    """Targets [n, k] of distributions: 1 at the true label for labels [n] in [0, k); the raters' distributions [n, k]
    as they are. Raises ValueError if the latter are of another width, or if a row does not sum to 1."""
    if truth.ndim == 1:
        return np.asarray(np.eye(k)[truth])
    if truth.shape[1] != k or (truth < 0).any() or not np.allclose(truth.sum(axis=1), 1):
        raise ValueError(f"the raters' distributions must have {k} shares a row that sum to 1")
    return truth.astype(float)


def search_temperature(loss: Callable[[float], float]) -> float:
    """The temperature in [COLDEST, HOTTEST] with the least `loss`, by Brent's method on its logarithm."""
    from scipy.optimize import minimize_scalar  # slow import, which commands that fit nothing must avoid

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    best = minimize_scalar(lambda log: loss(float(np.exp(log))), bounds=bounds, method="bounded")
    return float(np.exp(best.x))


def bound_reached(fitted: Curve, target: Target = "label") -> str | None:
    """A warning if a parameter of a map fitted to the `target` ended at its bound, so that the map is not to be relied
    on; else None."""
    if isinstance(fitted, Isotonic):
        return None
    if isinstance(fitted, Temperature):
        for bound, meaning in ((HOTTEST, "every value becomes nearly 0.5"), (COLDEST, "values become nearly 0 or 1")):
            if np.isclose(fitted.temperature, bound, rtol=1e-3):
                return f"the temperature reached its bound {bound:g}: {meaning}"
        return None
    slopes = [fitted.a] if isinstance(fitted, Platt) else [fitted.a, fitted.b]
    if max(slopes) < 1e-6:
        more = "right more often" if target == "label" else "chosen by more of the raters"
        return f"the slope reached its bound 0: answers with higher values were not {more}, so it is constant"
    intercept = fitted.b if isinstance(fitted, Platt) else fitted.c
    if max(*slopes, abs(intercept)) > STEEPEST - 1e-6:
        labels = "right and wrong rows do not overlap in these values"
        votes = "the raters agree wholly on nearly every answer, or their shares rise more steeply than a map can"
        return f"a parameter reached its bound {STEEPEST:g}: {labels if target == 'label' else votes}"
    return None


def _fit_logistic(
    features: Floats, right: Floats, start: list[float], bounds: list[tuple[float, float]]
) -> list[float]:
    """The parameters [d] of sigmoid(features [n, d] @ parameters) with the least negative log-likelihood."""
    from scipy.optimize import minimize  # slow import, as above

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


def _targets(correct: Bools | Floats, what: str) -> Floats:
    """Correctness or shares [n] as numbers. Raises ValueError if n is 0 or a number is not in [0, 1]."""
    if len(correct) == 0:
        raise ValueError(f"{what} needs at least one labelled row")
    right = np.asarray(correct, dtype=float)
    if not (outside := ~((right >= 0) & (right <= 1))).any():
        return right
    row = int(np.argmax(outside))
    raise ValueError(f"{what} is fitted to shares from 0 to 1, but that of row {row} is {right[row]:g}")
