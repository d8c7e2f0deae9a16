"""Fitting a map on prediction rows: one a task, of a chosen signal, chosen and checked by cross-validation.

The rows are calibration rows: none of them, nor of their clusters, taught the model. Labels are never changed, and no
row is dropped. `cross_validate` says what a map gains on rows that it was not fitted on; a map `helps` when it lowers
their Brier score by more than one standard error of the paired difference (the one-standard-error rule of Breiman et
al. 1984, over clusters).

    emocaliber recalibrate fit calibration.jsonl --out map.json
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from emocaliber.calibration.maps import (
    Bools,
    Floats,
    Map,
    Temperature,
    fit_beta,
    fit_confidence_temperature,
    fit_isotonic,
    fit_platt,
    fit_shared_temperature,
    tempered,
)
from emocaliber.core.predictions import Prediction, Source, State

Signal = Literal["confidence", "probability", "distribution"]
Kind = Literal["temperature", "platt", "beta", "isotonic"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FEWEST = 50
"""Calibration rows that a task needs for a map of its own; below, its rows are mapped by the map of all tasks."""
FOLDS = 10
"""Parts of the clusters in cross-validation; fewer where there are fewer clusters."""

_OF_CONFIDENCES: Mapping[Kind, Callable[[Floats, Bools], Map]] = {
    "temperature": fit_confidence_temperature,
    "platt": fit_platt,
    "beta": fit_beta,
    "isotonic": fit_isotonic,
}


@dataclass(frozen=True)
class Recalibrator:
    """Fitted maps. `signal` is what they map: the stated confidence, the predicted label's token probability, or its
    share of the distribution over labels; `tasks` holds the maps of single tasks, `overall` that of all other rows.

    A temperature of the distribution is applied to every share of it; any other map to the signal alone, and the row
    then has no distribution.
    """

    signal: Signal
    kind: Kind
    overall: Map
    tasks: Mapping[str, Map]

    def apply(self, rows: Sequence[Prediction], method: str) -> list[Prediction]:
        """The rows, in order, with mapped confidences; a row without the signal keeps its state, or loses its "ok"."""
        mapped = zip(rows, self.confidences(rows).tolist(), strict=True)
        return [self._mapped(row, confidence, method) for row, confidence in mapped]

    def confidences(self, rows: Sequence[Prediction]) -> Floats:
        """The mapped confidence of each row [n], NaN where it lacks the signal."""
        result = _values(rows, self.signal)
        tasks = np.array([row.task for row in rows], dtype=object)
        for task in set(tasks):
            own = self.tasks.get(task, self.overall)
            inside = np.flatnonzero((tasks == task) & ~np.isnan(result))
            if self._scales_distributions(own):
                result[inside] = [self._scaled(rows[i])[str(rows[i].predicted)] for i in inside]
            else:
                result[inside] = own(result[inside])
        return result

    def _mapped(self, row: Prediction, confidence: float, method: str) -> Prediction:
        renamed = replace(row, method=method, source=Source.POSTHOC)
        if np.isnan(confidence):
            missing = State.MISSING_CONFIDENCE if row.state is State.OK else row.state
            return replace(renamed, confidence=None, distribution=None, state=missing)
        state = row.state if self.signal == "confidence" else State.OK
        scales = self._scales_distributions(self.tasks.get(row.task, self.overall))
        return replace(renamed, confidence=confidence, distribution=self._scaled(row) if scales else None, state=state)

    def _scales_distributions(self, own: Map) -> bool:
        return self.signal == "distribution" and isinstance(own, Temperature)

    def _scaled(self, row: Prediction) -> dict[str, float]:
        own, shares = self.tasks.get(row.task, self.overall), row.distribution or {}
        assert isinstance(own, Temperature)
        scaled = tempered(np.array([list(shares.values())]), own.temperature)[0].tolist()
        return dict(zip(shares, scaled, strict=True))


@dataclass(frozen=True)
class CrossValidated:
    """Brier scores [0, 1] of the signal as it is and through maps fitted on other clusters, on the same rows; `error`
    is the standard error of their difference."""

    kind: Kind
    before: float
    after: float
    error: float

    @property
    def helps(self) -> bool:
        """Whether the gain is more than one standard error."""
        return self.before - self.after > self.error


def fit_recalibrator(rows: Sequence[Prediction], signal: Signal, kind: Kind, *, per_task: bool) -> Recalibrator:
    """Fit on calibration rows that have the signal; the others teach nothing.

    Raises ValueError where no row has it.
    """
    usable = with_signal(rows, signal)
    tasks = sorted({row.task for row in usable}) if per_task else []
    groups = {task: [row for row in usable if row.task == task] for task in tasks}
    maps = {task: _fit(own, signal, kind) for task, own in groups.items() if len(own) >= FEWEST}
    return Recalibrator(signal, kind, _fit(usable, signal, kind), maps)


def cross_validate(rows: Sequence[Prediction], signal: Signal, kind: Kind, *, per_task: bool) -> CrossValidated:
    """What a map of this kind gains on rows whose clusters it was not fitted on, out of FOLDS parts of the clusters.

    Raises ValueError where no row has the signal, or all that have it are of one cluster.
    """
    usable = with_signal(rows, signal)
    clusters, cluster = np.unique([row.cluster for row in usable], return_inverse=True)
    if len(clusters) < 2:
        raise ValueError("rows of at least two clusters are needed to see whether a map helps")
    fold = (np.random.default_rng(0).permutation(len(clusters)) % FOLDS)[cluster]
    mapped = np.empty(len(usable))
    for part in np.unique(fold):
        fitting = [row for row, own in zip(usable, fold, strict=True) if own != part]
        inside = np.flatnonzero(fold == part)
        fitted = fit_recalibrator(fitting, signal, kind, per_task=per_task)
        mapped[inside] = fitted.confidences([usable[i] for i in inside])
    right = _right(usable)
    before, after = (_values(usable, signal) - right) ** 2, (mapped - right) ** 2
    return CrossValidated(kind, float(before.mean()), float(after.mean()), _clustered_error(after - before, cluster))


def with_signal(rows: Sequence[Prediction], signal: Signal) -> list[Prediction]:
    """The rows that can teach a map of this signal. Raises ValueError where there is none."""
    if usable := [row for row in rows if signal_of(row, signal) is not None]:
        return usable
    raise ValueError(f"no row has a label and a {signal} to fit a map on")


def signal_of(row: Prediction, signal: Signal) -> float | None:
    """What is mapped, in [0, 1]; None where the row has none, or no label that it could belong to."""
    if row.predicted is None:
        return None
    if signal == "confidence":
        return row.confidence
    if signal == "probability":
        return row.probability
    if not row.distribution or row.predicted not in row.distribution:
        return None
    return row.distribution[row.predicted] / sum(row.distribution.values())


def temperature_scaled(rows: Sequence[Prediction], calibration: Sequence[Prediction], method: str) -> list[Prediction]:
    """`rows` with their distributions tempered, one temperature a task (Guo et al. 2017).

    Rows without a distribution are passed on with their state. Raises ValueError where no calibration row has one.
    """
    return fit_recalibrator(calibration, "distribution", "temperature", per_task=True).apply(rows, method)


def isotonic(rows: Sequence[Prediction], calibration: Sequence[Prediction], method: str) -> list[Prediction]:
    """`rows` with their confidence mapped monotonically to the calibration rows' accuracy, one map a task."""
    return fit_recalibrator(calibration, "confidence", "isotonic", per_task=True).apply(rows, method)


def _fit(rows: Sequence[Prediction], signal: Signal, kind: Kind) -> Map:
    if signal == "distribution" and kind == "temperature":
        return Temperature(_distribution_temperature(rows))
    return _OF_CONFIDENCES[kind](_values(rows, signal), _right(rows))


def _values(rows: Sequence[Prediction], signal: Signal) -> Floats:
    """[n]; NaN where a row lacks the signal."""
    return np.array([signal_of(row, signal) for row in rows], dtype=float)


def _right(rows: Sequence[Prediction]) -> Bools:
    return np.array([row.predicted == row.truth for row in rows])


def _clustered_error(differences: Floats, cluster: npt.NDArray[np.intp]) -> float:
    """The standard error of the mean of `differences` [n], whose clusters are independent, not their rows."""
    sums = np.bincount(cluster, weights=differences - differences.mean())
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(differences))


def _distribution_temperature(rows: Sequence[Prediction]) -> float:
    """Of all shares. A truth that has no share has one of 0; rows are grouped by their number of labels."""
    groups: defaultdict[int, list[tuple[list[float], int]]] = defaultdict(list)
    for row in rows:
        shares = {row.truth: 0.0} | (row.distribution or {})
        groups[len(shares)].append((list(shares.values()), list(shares).index(row.truth)))
    return fit_shared_temperature(
        [
            (np.array([shares for shares, _ in group]), np.array([truth for _, truth in group]))
            for group in groups.values()
        ]
    )
