"""Maps of several signals, or of a hidden state, to the probability of being right, by ridge-penalised logistic
regression.

scikit-learn fits them; the penalty is chosen by cross-validation over clusters. Signals are elicited by
emocaliber.generation.signals and stored in `Prediction.signals`.

| map | of | source |
|---|---|---|
| Probe | the hidden state where the label was written | P(IK), Kadavath et al. 2022 |
| SignalsMap | all of a row's numeric signals, and the probe's score of its hidden state | stacking, Wolpert 1992 |

Fitted to votes, the probability is that of a rater choosing the answer: see targets.

    fit_signals(rows, None)(new_rows)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from emocaliber.calibration.maps import CLIP, Bools, Floats
from emocaliber.calibration.targets import Target, correctness
from emocaliber.core.predictions import Prediction

PENALTIES = (0.001, 0.03, 1.0)
"""Inverse strengths C of the ridge penalty on standardised features, chosen by cross-validation."""
FOLDS = 5
KNOWN = 0.5
"""A signal is used as a feature if at least this share of the fitting rows has it."""
STATED, PROBABILITY, ENTROPY, HIDDEN = "confidence", "probability", "entropy", "hidden"


@dataclass(frozen=True)
class Linear:
    """A linear model of log odds: features [n, d], standardised with `centre` and `scale` [d], times `weights` [d],
    plus `intercept`."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def __call__(self, features: Floats) -> Floats:
        """Log odds [n] of being right."""
        standard = (features - np.array(self.centre)) / np.array(self.scale)
        result: Floats = standard @ np.array(self.weights) + self.intercept
        return result


@dataclass(frozen=True)
class Probe:
    """A linear map of the hidden state."""

    linear: Linear

    def __call__(self, rows: Sequence[Prediction]) -> Floats:
        """The probability [n] that each answer is right, NaN if a row has no hidden state of this width."""
        return _over_rows(hidden_states(rows), self.linear)


@dataclass(frozen=True)
class SignalsMap:
    """A linear map of the signals `names`, of which those in `log_odds` are first transformed to log odds.

    A missing signal is imputed with its mean in the fitting rows; signals in `gaps`, which fitting rows lacked too,
    also have a missing-value indicator. The log odds of `probe` are the last feature; it is None if the fitting rows
    had no hidden states.
    """

    names: tuple[str, ...]
    log_odds: tuple[str, ...]
    gaps: tuple[str, ...]
    means: tuple[float, ...]
    linear: Linear
    probe: Linear | None

    def __call__(self, rows: Sequence[Prediction]) -> Floats:
        """The probability [n] that each answer is right, NaN if a row has none of the signals."""
        values = signal_values(rows, self.names)
        known = ~np.isnan(values).all(axis=1)
        parts = [self._features(values)]
        if self.probe is not None:
            probed = _over_rows(hidden_states(rows), self.probe, as_log_odds=True)
            known |= ~np.isnan(probed)
            parts.append(np.where(np.isnan(probed), self.linear.centre[-1], probed)[:, None])
        result: Floats = np.where(known, expit(self.linear(np.column_stack(parts))), np.nan)
        return result

    def _features(self, values: Floats) -> Floats:
        return _features(values, self.names, self.log_odds, self.gaps, np.array(self.means))


def fit_probe(rows: Sequence[Prediction], target: Target = "label") -> Probe:
    """Fit a probe on the rows that have a hidden state, all of one width. Raises ValueError if none has."""
    states = hidden_states(rows)
    present = ~np.isnan(states).any(axis=1) if states.size else np.zeros(len(rows), bool)
    if not present.any():
        raise ValueError("no row has a hidden state to fit a probe on")
    return Probe(_fit_linear(states[present], correctness(rows, target)[present], _clusters(rows)[present]))


def fit_signals(rows: Sequence[Prediction], names: Sequence[str] | None, target: Target = "label") -> SignalsMap:
    """Fit a map of these signals; None uses all, and the hidden state. Signals of fewer than half of the rows are left
    out.

    The probe's score of a row, as a feature, comes from a probe fitted on other clusters. Raises ValueError if no
    signal remains.
    """
    wanted = sorted(known_signals(rows)) if names is None else [name for name in names if name != HIDDEN]
    values = signal_values(rows, wanted)
    enough = np.isnan(values).mean(axis=0) <= 1 - KNOWN if len(rows) else np.zeros(len(wanted), bool)
    wanted, values = [name for name, use in zip(wanted, enough, strict=True) if use], values[:, enough]
    right, clusters = correctness(rows, target), _clusters(rows)
    log_odds = [name for n, name in enumerate(wanted) if _are_shares(values[:, n])]
    gaps = [name for n, name in enumerate(wanted) if np.isnan(values[:, n]).any()]
    means = _means(values, wanted, log_odds)
    features = _features(values, wanted, log_odds, gaps, means)
    probe: Linear | None = None
    if (names is None or HIDDEN in names) and np.mean([row.hidden is not None for row in rows]) >= KNOWN:
        probe = fit_probe(rows, target).linear
        held_out = _held_out_log_odds(rows, right, clusters)
        features = np.column_stack([features, np.where(np.isnan(held_out), np.nanmean(held_out), held_out)])
    if not features.shape[1]:
        raise ValueError("no signal is present in half of the rows")
    linear = _fit_linear(features, right, clusters)
    return SignalsMap(tuple(wanted), tuple(log_odds), tuple(gaps), tuple(means.tolist()), linear, probe)


def known_signals(rows: Sequence[Prediction]) -> set[str]:
    """The names of the numeric signals that any row has, including its confidence, token probability and entropy."""
    names = {name for row in rows for name in row.signals or {}}
    return names | {own for row in rows for own in _OWN if _value(row, own) is not None}


def signal_values(rows: Sequence[Prediction], names: Sequence[str]) -> Floats:
    """The signals' values [n, names], NaN if missing."""
    return np.array([[_value(row, name) for name in names] for row in rows], dtype=float).reshape(len(rows), len(names))


def hidden_states(rows: Sequence[Prediction]) -> Floats:
    """The hidden states [n, d], NaN if a row has none; d is 0 if no row has one. Raises ValueError if widths differ."""
    states_by_row = {
        n: np.frombuffer(row.hidden, "<f2").astype(float) for n, row in enumerate(rows) if row.hidden is not None
    }
    widths = {len(state) for state in states_by_row.values()} or {0}
    if len(widths) > 1:
        raise ValueError(
            f"hidden states of {' and '.join(map(str, sorted(widths)))} numbers are not of one model; give the rows of"
            " one model"
        )
    states = np.full((len(rows), widths.pop()), np.nan)
    for n, state in states_by_row.items():
        states[n] = state
    return states


_OWN = (STATED, PROBABILITY, ENTROPY)


def _value(row: Prediction, name: str) -> float | None:
    if row.signals and name in row.signals:
        return row.signals[name]
    if name == ENTROPY and row.distribution:
        shares = np.array([share for share in row.distribution.values() if share > 0])
        return float(-(shares / shares.sum() * np.log(shares / shares.sum())).sum())
    return {STATED: row.confidence, PROBABILITY: row.probability}.get(name)


def _over_rows(states: Floats, linear: Linear, *, as_log_odds: bool = False) -> Floats:
    result = np.full(len(states), np.nan)
    if states.shape[1] == len(linear.weights):
        present = ~np.isnan(states).any(axis=1)
        result[present] = linear(states[present])
    return result if as_log_odds else np.asarray(expit(result))


def _features(
    values: Floats, names: Sequence[str], log_odds: Sequence[str], gaps: Sequence[str], means: Floats
) -> Floats:
    """The feature matrix [n, names + gaps]."""
    columns = [_transformed(values[:, n], name in log_odds) for n, name in enumerate(names)]
    filled = [np.where(np.isnan(column), mean, column) for column, mean in zip(columns, means, strict=True)]
    missing = [np.isnan(values[:, n]).astype(float) for n, name in enumerate(names) if name in gaps]
    return np.column_stack([*filled, *missing]) if names else np.empty((len(values), 0))


def _transformed(values: Floats, log_odds: bool) -> Floats:
    return np.asarray(logit(np.clip(values, CLIP, 1 - CLIP))) if log_odds else values


def _are_shares(values: Floats) -> bool:
    return bool(np.nanmin(values) >= 0 and np.nanmax(values) <= 1)


def _means(values: Floats, names: Sequence[str], log_odds: Sequence[str]) -> Floats:
    return np.array([np.nanmean(_transformed(values[:, n], name in log_odds)) for n, name in enumerate(names)])


def _held_out_log_odds(rows: Sequence[Prediction], right: Bools | Floats, clusters: npt.NDArray[np.intp]) -> Floats:
    """The log odds [n] of each row by a probe fitted without its cluster."""
    states, result = hidden_states(rows), np.full(len(rows), np.nan)
    present = np.flatnonzero(~np.isnan(states).any(axis=1))
    held_out = _held_out(_standardised(states[present])[0], right[present], clusters[present])
    result[present] = held_out[min(held_out, key=lambda strength: _loss(held_out[strength], right[present]))]
    return result


def _fit_linear(features: Floats, right: Bools | Floats, clusters: npt.NDArray[np.intp]) -> Linear:
    """Fit with the penalty that minimises the log loss in cross-validation over clusters."""
    standard, centre, scale = _standardised(features)
    held_out = _held_out(standard, right, clusters)
    best = min(held_out, key=lambda strength: _loss(held_out[strength], right))
    weights, intercept = _logistic(standard, right, best)
    return Linear(tuple(centre.tolist()), tuple(scale.tolist()), tuple(weights.tolist()), intercept)


def _standardised(features: Floats) -> tuple[Floats, Floats, Floats]:
    """The features standardised to mean 0 and standard deviation 1, and their means and standard deviations."""
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12] = 1.0
    return (features - centre) / scale, centre, scale


def _held_out(features: Floats, right: Bools | Floats, clusters: npt.NDArray[np.intp]) -> dict[float, Floats]:
    """For each penalty, the log odds [n] of each row by a fit without its cluster."""
    result = {strength: np.zeros(len(features)) for strength in PENALTIES}
    for fitting, held_out in _folds(clusters):
        for strength, logits in result.items():
            weights, intercept = _logistic(features[fitting], right[fitting], strength)
            logits[held_out] = features[held_out] @ weights + intercept
    return result


def _loss(logits: Floats, right: Bools | Floats) -> float:
    return float((np.logaddexp(0, logits) - right * logits).sum())


def _logistic(features: Floats, right: Bools | Floats, strength: float) -> tuple[Floats, float]:
    """Weights [d] and intercept; if all rows are right or all wrong, the constant of Laplace's rule of succession.

    A row with a share counts as two, right with this weight and wrong with the rest, which is the same likelihood.
    """
    from sklearn.linear_model import LogisticRegression  # slow import, which the commands' --help must avoid

    if right.sum() in (0, len(right)):
        share = (right.sum() + 1) / (len(right) + 2)
        return np.zeros(features.shape[1]), float(logit(share))
    model = LogisticRegression(C=strength, max_iter=2000)
    if right.dtype == np.bool_:
        fitted = model.fit(features, right)
    else:
        outcomes = np.repeat([True, False], len(right))
        fitted = model.fit(np.tile(features, (2, 1)), outcomes, np.concatenate([right, 1 - right]))
    return fitted.coef_[0], float(fitted.intercept_[0])


def _folds(clusters: npt.NDArray[np.intp]) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """(fitting rows, held-out rows) of at most FOLDS folds of whole clusters."""
    distinct, cluster = np.unique(clusters, return_inverse=True)
    fold = (np.random.default_rng(1).permutation(len(distinct)) % FOLDS)[cluster]
    return [(np.flatnonzero(fold != n), np.flatnonzero(fold == n)) for n in np.unique(fold) if (fold != n).any()]


def _clusters(rows: Sequence[Prediction]) -> npt.NDArray[np.intp]:
    return np.unique([row.cluster for row in rows], return_inverse=True)[1]
