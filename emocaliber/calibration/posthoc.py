"""Post-hoc calibration of prediction rows: a map from what a row states, or knows, to the probability of being right.

Fitted on calibration rows, one map a task or one for all. Not trained with the model: the floor that a stated
confidence must reach, and a tool for models that cannot be trained. Labels are never changed, rows never dropped.

    emocaliber recalibrate fit calibration.jsonl --out map.json
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from emocaliber.calibration.maps import (
    Floats,
    Map,
    Temperature,
    fit_beta,
    fit_confidence_temperature,
    fit_isotonic,
    fit_shared_temperature,
    tempered,
)
from emocaliber.core.predictions import Prediction, Source, State

Signal = Literal["confidence", "probability", "distribution"]
Kind = Literal["temperature", "isotonic", "beta"]

FEWEST = 50
"""Calibration rows that a task needs for a map of its own; below, its rows are mapped by the map of all tasks."""


@dataclass(frozen=True)
class Recalibrator:
    """Fitted maps. `signal` is what they map: the stated confidence, the predicted label's token probability, or its
    share of the distribution over labels; `tasks` holds the maps of single tasks, `overall` that of all other rows.

    A temperature of the distribution is applied to the whole of it; every other map to the signal alone, and the row
    then has no distribution.
    """

    signal: Signal
    kind: Kind
    overall: Map
    tasks: Mapping[str, Map]

    def apply(self, rows: Sequence[Prediction], method: str) -> list[Prediction]:
        """The rows, in order, with mapped confidences; one without the signal keeps its state, or loses its "ok"."""
        return [self._mapped(row, method) for row in rows]

    def _mapped(self, row: Prediction, method: str) -> Prediction:
        named = replace(row, method=method, source=Source.POSTHOC)
        known = signal_of(row, self.signal)
        if known is None:
            missing = State.MISSING_CONFIDENCE if row.state is State.OK else row.state
            return replace(named, confidence=None, distribution=None, state=missing)
        state = row.state if self.signal == "confidence" else State.OK
        found = self.tasks.get(row.task, self.overall)
        if self.signal == "distribution" and isinstance(found, Temperature) and row.distribution:
            scaled = _tempered(row.distribution, found.temperature)
            return replace(named, confidence=scaled[str(row.predicted)], distribution=scaled, state=state)
        confidence = float(found(np.array([known]))[0])
        return replace(named, confidence=confidence, distribution=None, state=state)


def fit_recalibrator(rows: Sequence[Prediction], signal: Signal, kind: Kind, *, per_task: bool) -> Recalibrator:
    """Fit on calibration rows that have the signal; the others teach nothing.

    Raises ValueError where no row has it.
    """
    known = [row for row in rows if signal_of(row, signal) is not None]
    if not known:
        raise ValueError(f"no row has a label and a {signal} to fit a map on")
    tasks = sorted({row.task for row in known}) if per_task else []
    groups = {task: [row for row in known if row.task == task] for task in tasks}
    maps = {task: _fit(found, signal, kind) for task, found in groups.items() if len(found) >= FEWEST}
    return Recalibrator(signal, kind, _fit(known, signal, kind), maps)


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
    values: Floats = np.array([signal_of(row, signal) for row in rows], dtype=float)
    right = np.array([row.predicted == row.truth for row in rows])
    if kind == "temperature":
        return fit_confidence_temperature(values, right)
    return fit_isotonic(values, right) if kind == "isotonic" else fit_beta(values, right)


def _distribution_temperature(rows: Sequence[Prediction]) -> float:
    """Of whole distributions. A truth that has no share has one of 0; rows are grouped by their number of labels."""
    groups: defaultdict[int, list[tuple[list[float], int]]] = defaultdict(list)
    for row in rows:
        shares = {row.truth: 0.0} | (row.distribution or {})
        groups[len(shares)].append((list(shares.values()), list(shares).index(row.truth)))
    return fit_shared_temperature(
        [(np.array([one for one, _ in found]), np.array([truth for _, truth in found])) for found in groups.values()]
    )


def _tempered(distribution: Mapping[str, float], temperature: float) -> dict[str, float]:
    scaled = tempered(np.array([list(distribution.values())]), temperature)[0].tolist()
    return dict(zip(distribution, scaled, strict=True))
