"""Maps of several signals, or of a hidden state, to the probability of being right: logistic regression with a ridge.

scikit-learn fits it; the penalty is chosen by cross-validation over clusters. What a signal is: see
emocaliber.generation.signals, which asks for them, and `Prediction.signals`, which holds them.

| map | of | source |
|---|---|---|
| Probe | the hidden state where the label was written | P(IK), Kadavath et al. 2022 |
| SignalsMap | every number known of a row, and a probe's score where it has a hidden state | stacking, Wolpert 1992 |

    fit_signals(rows, None)(new_rows)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from emocaliber.calibration.maps import CLIP, Bools, Floats
from emocaliber.core.predictions import Prediction

PENALTIES = (0.001, 0.03, 1.0)
"""Inverse strengths C of the ridge penalty on standardised features, of which cross-validation chooses."""
PARTS = 5
KNOWN = 0.5
"""A signal that fewer rows of the fit have is no feature."""
STATED, PROBABILITY, ENTROPY, HIDDEN = "confidence", "probability", "entropy", "hidden"


@dataclass(frozen=True)
class Linear:
    """Features [n, d], standardised by `centre` and `scale` [d], to log odds: times `weights` [d], plus `intercept`."""

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
        """The probability [n] that each answer is right, NaN where a row has no hidden state of this width."""
        return _over_rows(hidden_states(rows), self.linear)


@dataclass(frozen=True)
class SignalsMap:
    """A linear map of the signals `names`; those at `log_odds` are mapped as log odds. A row that lacks one has the
    fit's mean of it, and a feature that says so where rows of the fit lacked it too (`gaps`). `probe` is None where
    the rows of the fit had no hidden state, else its log odds are the last feature."""

    names: tuple[str, ...]
    log_odds: tuple[str, ...]
    gaps: tuple[str, ...]
    means: tuple[float, ...]
    linear: Linear
    probe: Linear | None

    def __call__(self, rows: Sequence[Prediction]) -> Floats:
        """The probability [n] that each answer is right, NaN where a row has none of the signals."""
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


def fit_probe(rows: Sequence[Prediction]) -> Probe:
    """A probe of rows that have a hidden state of one width and a truth. Raises ValueError where none has."""
    states = hidden_states(rows)
    there = ~np.isnan(states).any(axis=1) if states.size else np.zeros(len(rows), bool)
    if not there.any():
        raise ValueError("no row has a hidden state to fit a probe on")
    return Probe(_fit_linear(states[there], _right(rows)[there], _clusters(rows)[there]))


def fit_signals(rows: Sequence[Prediction], names: Sequence[str] | None) -> SignalsMap:
    """A map of these signals, or of all that at least half of the rows have, the hidden state among them.

    The probe's score of a row is that of a probe fitted on other clusters. Raises ValueError where nothing is known.
    """
    wanted = sorted(known_signals(rows)) if names is None else [name for name in names if name != HIDDEN]
    values = signal_values(rows, wanted)
    enough = np.isnan(values).mean(axis=0) <= 1 - KNOWN if len(rows) else np.zeros(len(wanted), bool)
    wanted, values = [name for name, use in zip(wanted, enough, strict=True) if use], values[:, enough]
    right, clusters = _right(rows), _clusters(rows)
    log_odds = [name for n, name in enumerate(wanted) if _are_shares(values[:, n])]
    gaps = [name for n, name in enumerate(wanted) if np.isnan(values[:, n]).any()]
    means = _means(values, wanted, log_odds)
    features = _features(values, wanted, log_odds, gaps, means)
    probe: Linear | None = None
    if (names is None or HIDDEN in names) and np.mean([row.hidden is not None for row in rows]) >= KNOWN:
        probe = fit_probe(rows).linear
        held_out = _probed_elsewhere(rows, right, clusters)
        features = np.column_stack([features, np.where(np.isnan(held_out), np.nanmean(held_out), held_out)])
    if not features.shape[1]:
        raise ValueError("no signal is known of half of the rows")
    linear = _fit_linear(features, right, clusters)
    return SignalsMap(tuple(wanted), tuple(log_odds), tuple(gaps), tuple(means.tolist()), linear, probe)


def known_signals(rows: Sequence[Prediction]) -> set[str]:
    """The names of the numbers that any row has: its signals, its confidence, its token probability, its entropy."""
    names = {name for row in rows for name in row.signals or {}}
    return names | {own for row in rows for own in _OWN if _value(row, own) is not None}


def signal_values(rows: Sequence[Prediction], names: Sequence[str]) -> Floats:
    """[n, names], NaN where a row lacks one."""
    return np.array([[_value(row, name) for name in names] for row in rows], dtype=float).reshape(len(rows), len(names))


def hidden_states(rows: Sequence[Prediction]) -> Floats:
    """[n, d], NaN where a row has none; d is 0 where none has. Raises ValueError where two widths differ."""
    found = {n: np.frombuffer(row.hidden, "<f2").astype(float) for n, row in enumerate(rows) if row.hidden is not None}
    widths = {len(state) for state in found.values()} or {0}
    if len(widths) > 1:
        raise ValueError(f"hidden states of {' and '.join(map(str, sorted(widths)))} numbers are not of one model")
    states = np.full((len(rows), widths.pop()), np.nan)
    for n, state in found.items():
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
        there = ~np.isnan(states).any(axis=1)
        result[there] = linear(states[there])
    return result if as_log_odds else np.asarray(expit(result))


def _features(
    values: Floats, names: Sequence[str], log_odds: Sequence[str], gaps: Sequence[str], means: Floats
) -> Floats:
    """[n, names + gaps]."""
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


def _probed_elsewhere(rows: Sequence[Prediction], right: Bools, clusters: npt.NDArray[np.intp]) -> Floats:
    """The log odds [n] of a probe that was fitted without the row's cluster."""
    states, result = hidden_states(rows), np.full(len(rows), np.nan)
    there = np.flatnonzero(~np.isnan(states).any(axis=1))
    held_out = _held_out(_standardised(states[there])[0], right[there], clusters[there])
    result[there] = held_out[min(held_out, key=lambda strength: _loss(held_out[strength], right[there]))]
    return result


def _fit_linear(features: Floats, right: Bools, clusters: npt.NDArray[np.intp]) -> Linear:
    """The weights under the penalty with the least cross-validated log loss over clusters."""
    standard, centre, scale = _standardised(features)
    held_out = _held_out(standard, right, clusters)
    best = min(held_out, key=lambda strength: _loss(held_out[strength], right))
    weights, intercept = _logistic(standard, right, best)
    return Linear(tuple(centre.tolist()), tuple(scale.tolist()), tuple(weights.tolist()), intercept)


def _standardised(features: Floats) -> tuple[Floats, Floats, Floats]:
    """The features with mean 0 and deviation 1, their means and deviations."""
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12] = 1.0
    return (features - centre) / scale, centre, scale


def _held_out(features: Floats, right: Bools, clusters: npt.NDArray[np.intp]) -> dict[float, Floats]:
    """For each penalty the log odds [n] of fits without the row's cluster."""
    result = {strength: np.zeros(len(features)) for strength in PENALTIES}
    for fitting, held in _parts(clusters):
        for strength, logits in result.items():
            weights, intercept = _logistic(features[fitting], right[fitting], strength)
            logits[held] = features[held] @ weights + intercept
    return result


def _loss(logits: Floats, right: Bools) -> float:
    return float((np.logaddexp(0, logits) - right * logits).sum())


def _logistic(features: Floats, right: Bools, strength: float) -> tuple[Floats, float]:
    """Weights [d] and intercept; where all rows are alike, the constant that Laplace's rule of succession gives."""
    from sklearn.linear_model import LogisticRegression  # heavy: the verbs' help must not load it

    if right.all() or not right.any():
        share = (right.sum() + 1) / (len(right) + 2)
        return np.zeros(features.shape[1]), float(logit(share))
    fitted = LogisticRegression(C=strength, max_iter=2000).fit(features, right)
    return fitted.coef_[0], float(fitted.intercept_[0])


def _parts(clusters: npt.NDArray[np.intp]) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Fitting and held-out rows of at most PARTS parts; a cluster is on one side."""
    distinct, own = np.unique(clusters, return_inverse=True)
    part = (np.random.default_rng(1).permutation(len(distinct)) % PARTS)[own]
    return [(np.flatnonzero(part != n), np.flatnonzero(part == n)) for n in np.unique(part) if (part != n).any()]


def _right(rows: Sequence[Prediction]) -> Bools:
    return np.array([row.predicted == row.truth for row in rows])


def _clusters(rows: Sequence[Prediction]) -> npt.NDArray[np.intp]:
    return np.unique([row.cluster for row in rows], return_inverse=True)[1]
