"""Fitting post-hoc maps of a chosen signal on prediction rows, one map per task. For their gain see `cross_fitting`.

The rows must be calibration rows: neither they nor their clusters were used for training. Labels are never changed, and
no row is dropped. What is fitted to, the label or the raters' votes, is the `Target` (see targets).

    emocaliber recalibrate fit calibration.jsonl --out map.json
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from msgspec.structs import replace

from emocaliber.calibration.learners import (
    HIDDEN,
    Probe,
    SignalsMap,
    fit_probe,
    fit_signals,
    known_signals,
)
from emocaliber.calibration.maps import (
    Bools,
    Curve,
    Floats,
    Temperature,
    fit_beta,
    fit_confidence_temperature,
    fit_isotonic,
    fit_platt,
    fit_shared_temperature,
    tempered,
)
from emocaliber.calibration.matrix import Matrix, fit_matrix
from emocaliber.calibration.targets import Target, correctness, label_shares, with_target
from emocaliber.calibration.venn_abers import VennAbers, fit_venn_abers
from emocaliber.core.predictions import Prediction, Source, State

Map = Curve | VennAbers | Matrix | Probe | SignalsMap
Signal = str
"""What is mapped: the row's "confidence", "probability" or "distribution"; its "hidden" state; one of its `signals` by
name; or "signals", all of them together."""
OWN: tuple[Signal, ...] = ("confidence", "probability", "distribution")
ALL: Signal = "signals"
CurveKind = Literal["temperature", "platt", "beta", "isotonic", "venn-abers"]
Kind = Literal["temperature", "platt", "beta", "isotonic", "venn-abers", "matrix", "probe", "signals"]
KINDS: tuple[CurveKind, ...] = get_args(CurveKind)
"""The maps of a single value in [0, 1]."""
EVERY_KIND: tuple[Kind, ...] = get_args(Kind)

LABEL_ONLY: tuple[Kind, ...] = ("venn-abers",)
"""The kinds that cannot be fitted to votes: what Venn-Abers guarantees, it guarantees for outcomes of 0 or 1."""

FEWEST = 50
"""Calibration rows that a task needs for its own map; with fewer, its rows use the map of all tasks."""

_OF_CONFIDENCES: Mapping[Kind, Callable[[Floats, Bools | Floats], Curve]] = {
    "temperature": fit_confidence_temperature,
    "platt": fit_platt,
    "beta": fit_beta,
    "isotonic": fit_isotonic,
}


def kinds_of(signal: Signal, target: Target = "label") -> tuple[Kind, ...]:
    """The kinds of map that apply to a signal and can be fitted to the target."""
    if signal not in OWN:
        return ("probe",) if signal == HIDDEN else ("signals",)
    kinds: tuple[Kind, ...] = (*KINDS, "matrix") if signal == "distribution" else KINDS
    return tuple(kind for kind in kinds if target == "label" or kind not in LABEL_ONLY)


def refuse_target(kind: Kind, target: Target) -> None:
    """Raises ValueError if this kind cannot be fitted to the target."""
    if target != "label" and kind in LABEL_ONLY:
        raise ValueError(
            f"a {kind} map cannot be fitted to votes, because what it guarantees holds for answers that are right or"
            " wrong; fit an isotonic map, another kind, or to the labels"
        )


def signals_in(rows: Sequence[Prediction]) -> list[Signal]:
    """The signals that at least one of these rows has."""
    own = [signal for signal in OWN if any(signal_of(row, signal) is not None for row in rows)]
    elicited = sorted({name for row in rows for name in row.signals or {}})
    hidden = [HIDDEN] if any(row.hidden is not None for row in rows) else []
    return [*own, *elicited, *hidden, *([ALL] if elicited or hidden else [])]


@dataclass(frozen=True)
class Recalibrator:
    """Fitted maps of `signal` (see `Signal`): `tasks` holds the maps of single tasks, `overall` that of all other rows.
    All are fitted to the same `target`.

    A temperature or a matrix of the distribution is applied to the entire distribution. Any other map is applied to the
    signal alone, and the row then loses its distribution.
    """

    signal: Signal
    kind: Kind
    overall: Map
    tasks: Mapping[str, Map]
    target: Target = "label"

    def apply(self, rows: Sequence[Prediction], method: str) -> list[Prediction]:
        """The rows, in order, with mapped confidences. A row without the signal gets none; if its state was "ok", it
        becomes "missing confidence"."""
        mapped = zip(rows, self.confidences(rows).tolist(), strict=True)
        return [self._replace_confidence(row, confidence, method) for row, confidence in mapped]

    def confidences(self, rows: Sequence[Prediction]) -> Floats:
        """The mapped confidence of each row [n], NaN if it lacks the signal."""
        result = np.full(len(rows), np.nan)
        tasks = np.array([row.task for row in rows], dtype=object)
        for task in set(tasks):
            positions = np.flatnonzero(tasks == task)
            result[positions] = _map_rows(self.tasks.get(task, self.overall), [rows[i] for i in positions], self.signal)
        return result

    def _replace_confidence(self, row: Prediction, confidence: float, method: str) -> Prediction:
        renamed = replace(row, method=method, source=Source.POSTHOC)
        if np.isnan(confidence):
            missing = State.MISSING_CONFIDENCE if row.state is State.OK else row.state
            return replace(renamed, confidence=None, distribution=None, state=missing)
        fitted, state = self.tasks.get(row.task, self.overall), row.state if self.signal == "confidence" else State.OK
        distribution = _scaled(fitted, row) if _scales_distributions(fitted, self.signal) else None
        return replace(renamed, confidence=confidence, distribution=distribution, state=state)


def _map_rows(fitted: Map, rows: Sequence[Prediction], signal: Signal) -> Floats:
    """The mapped confidences [n], NaN if a row lacks the signal."""
    if isinstance(fitted, (Probe, SignalsMap)):
        has_label = np.array([row.predicted is not None for row in rows])
        return np.where(has_label, fitted(rows), np.nan)
    values = values_of(rows, signal)
    present = np.flatnonzero(~np.isnan(values))
    if _scales_distributions(fitted, signal):
        scaled = [_scaled(fitted, rows[i]) for i in present]
        values[present] = [
            np.nan if shares is None else shares[str(rows[i].predicted)]
            for i, shares in zip(present, scaled, strict=True)
        ]
    elif not isinstance(fitted, Matrix):
        values[present] = fitted(values[present])
    return values


def _scales_distributions(fitted: Map, signal: Signal) -> bool:
    return isinstance(fitted, Matrix) or (signal == "distribution" and isinstance(fitted, Temperature))


def _scaled(fitted: Map, row: Prediction) -> dict[str, float] | None:
    """The row's mapped distribution; None if its labels differ from the matrix's."""
    shares = row.distribution or {}
    if isinstance(fitted, Matrix):
        return fitted.scaled(shares) if set(shares) == set(fitted.labels) else None
    assert isinstance(fitted, Temperature)
    scaled = tempered(np.array([list(shares.values())]), fitted.temperature)[0].tolist()
    return dict(zip(shares, scaled, strict=True))


def fit_recalibrator(
    rows: Sequence[Prediction], signal: Signal, kind: Kind, *, per_task: bool, target: Target = "label"
) -> Recalibrator:
    """Fit on the calibration rows that have the signal, and votes if they are the target; others are ignored.

    Raises ValueError if no row has them, or if this kind cannot be fitted to the target.
    """
    refuse_target(kind, target)
    usable = with_target(with_signal(rows, signal), target)
    tasks = sorted({row.task for row in usable}) if per_task else []
    groups = {task: [row for row in usable if row.task == task] for task in tasks}
    maps = {task: _fit(own, signal, kind, target) for task, own in groups.items() if len(own) >= FEWEST}
    return Recalibrator(signal, kind, _fit(usable, signal, kind, target), maps, target)


def with_signal(rows: Sequence[Prediction], signal: Signal) -> list[Prediction]:
    """The rows that have the signal. Raises ValueError if there are none."""
    if usable := [row for row in rows if has_signal(row, signal)]:
        return usable
    raise ValueError(f"no row has a label and a {signal} to fit a map on")


def has_signal(row: Prediction, signal: Signal) -> bool:
    """Whether the row has a label and the signal."""
    if signal in OWN or row.predicted is None:
        return signal_of(row, signal) is not None
    if signal == HIDDEN:
        return row.hidden is not None
    return bool(known_signals([row])) if signal == ALL else signal in (row.signals or {})


def signal_of(row: Prediction, signal: Signal) -> float | None:
    """The value in [0, 1] of a signal in OWN; None if the row lacks it or has no label, or for another signal."""
    if row.predicted is None:
        return None
    if signal == "confidence":
        return row.confidence
    if signal == "probability":
        return row.probability
    if signal != "distribution":
        return None
    if not row.distribution or row.predicted not in row.distribution:
        return None
    return row.distribution[row.predicted] / sum(row.distribution.values())


def temperature_scaled(rows: Sequence[Prediction], calibration: Sequence[Prediction], method: str) -> list[Prediction]:
    """`rows` with temperature-scaled distributions, one temperature per task (Guo et al. 2017).

    Rows without a distribution keep their state. Raises ValueError if no calibration row has one.
    """
    return fit_recalibrator(calibration, "distribution", "temperature", per_task=True).apply(rows, method)


def isotonic(rows: Sequence[Prediction], calibration: Sequence[Prediction], method: str) -> list[Prediction]:
    """`rows` with their confidence mapped by isotonic regression on the calibration rows, one map per task."""
    return fit_recalibrator(calibration, "confidence", "isotonic", per_task=True).apply(rows, method)


def _fit(rows: Sequence[Prediction], signal: Signal, kind: Kind, target: Target) -> Map:
    if kind == "probe":
        return fit_probe(rows, target)
    if kind == "signals":
        return fit_signals(rows, None if signal == ALL else [signal], target)
    if kind == "matrix" and len({frozenset(row.distribution or {}) for row in rows}) == 1:
        return _fit_matrix(rows, target)
    if signal == "distribution" and kind in ("temperature", "matrix"):  # a matrix needs the same labels
        return Temperature(_distribution_temperature(rows, target))
    values, right = values_of(rows, signal), correctness(rows, target)
    return fit_venn_abers(values, right.astype(bool)) if kind == "venn-abers" else _OF_CONFIDENCES[kind](values, right)


def values_of(rows: Sequence[Prediction], signal: Signal) -> Floats:
    """The signal's values [n]; NaN if a row lacks it."""
    return np.array([signal_of(row, signal) for row in rows], dtype=float)


def _fit_matrix(rows: Sequence[Prediction], target: Target) -> Map:
    """A matrix for rows with the same labels. Votes for other labels are ignored, and so are rows with no other answer;
    if all are, fit a temperature instead."""
    labels = sorted(rows[0].distribution or {})
    targets = [[shares.get(label, 0.0) for label in labels] for shares in (label_shares(row, target) for row in rows)]
    usable = [(row, own) for row, own in zip(rows, targets, strict=True) if any(own)]
    if not usable:
        return Temperature(_distribution_temperature(rows, target))
    shares = np.array([[(row.distribution or {})[label] for label in labels] for row, _ in usable])
    truth = np.array([own for _, own in usable])
    return fit_matrix(labels, shares / shares.sum(axis=1, keepdims=True), truth / truth.sum(axis=1, keepdims=True))


def _distribution_temperature(rows: Sequence[Prediction], target: Target) -> float:
    """The temperature of the distributions, grouped by their number of labels. A label that the target has and the
    distribution lacks counts as a share of 0."""
    groups: defaultdict[int, list[tuple[list[float], list[float]]]] = defaultdict(list)
    for row in rows:
        wanted = label_shares(row, target)
        shares = dict.fromkeys(wanted, 0.0) | (row.distribution or {})
        groups[len(shares)].append((list(shares.values()), [wanted.get(label, 0.0) for label in shares]))
    return fit_shared_temperature(
        [(np.array([own for own, _ in group]), np.array([own for _, own in group])) for group in groups.values()]
    )
