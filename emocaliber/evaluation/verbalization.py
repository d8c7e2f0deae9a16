"""Verbalization loss: how the Brier score grows step by step from the best post-hoc map to the stated confidence.

Each step is a row with its paired difference from the step before, which attributes the loss: to the teacher, to the
changed prompt, to stating another label, to rounding to levels, to imperfect learning, to stating the likeliest level
instead of the mean, and (negatively) to the scale, which a monotone map of the stated confidence recovers. Every map is
fitted and selected on held-out rows only. An unreadable answer costs 1 from the step at which the model has to write.

    steps_of(squared_errors(ReadOuts(stated, probability, expected, teacher), ReadOuts(...held-out rows...)))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from scipy.stats import t as student

from emocaliber.calibration.cross_fitting import clustered_error
from emocaliber.calibration.fit import Signal, fit_recalibrator, signal_of
from emocaliber.calibration.maps import Floats
from emocaliber.core.predictions import Prediction
from emocaliber.core.prompting import LEVELS
from emocaliber.evaluation.floors import cross_fitted_floors

Rows = Sequence[Prediction]

FLOOR, TEACHER, OWN = "best floor", "teacher’s target", "own probability, temperature-scaled"
ANSWER, ROUNDED = "the same, of the label that is stated", "rounded to the levels that can be said"
MEAN, STATED, MAPPED = "mean of the levels’ distribution", "stated", "stated, through a monotone map"
LOST = {
    TEACHER: "teacher: a temperature in place of the best floor",
    OWN: "question: asked for a confidence too, after training",
    ANSWER: "answer: another label is stated than the likeliest",
    ROUNDED: "levels: 21 values",
    MEAN: "learning: what the levels do not follow",
    STATED: "reading: the likeliest level in place of the mean",
    MAPPED: "scale: what a map of the words regains",
}
"""What the difference between a step and the step before is due to."""
WITHOUT = {
    (OWN, FLOOR): "teacher: a temperature in place of the best floor",
    (STATED, ROUNDED): "learning and reading",
}
"""The same for (step, step before), if a step in between is missing."""


@dataclass(frozen=True)
class ReadOuts:
    """Several read-outs of the same samples. `stated`: the stated confidence; `probability`: the distribution over
    labels of the same model with the same prompt; optionally `expected`: the mean of its distribution over confidence
    levels (not needed for held-out rows), and `teacher`: the label distribution of the model that stage 2 learned
    from."""

    stated: Rows
    probability: Rows
    expected: Rows | None = None
    teacher: Rows | None = None


@dataclass(frozen=True)
class SquaredErrors:
    """By step, in order: the squared error of each sample (n,), and whether its answer is right (n,). `clusters` (n,)
    are independent of each other; `floor` names the map that is the best floor."""

    errors: dict[str, Floats]
    right: dict[str, Floats]
    clusters: tuple[str, ...]
    floor: str


@dataclass(frozen=True)
class Step:
    """A step's Brier score and accuracy, and the difference of its Brier score from that of the step before (`change`,
    due to `lost`) and from the best floor (`above_floor`), each as (mean, low, high) with a 95 % interval; None for the
    first step."""

    name: str
    lost: str
    brier: float
    accuracy: float
    change: tuple[float, float, float] | None
    above_floor: tuple[float, float, float] | None


def squared_errors(test: ReadOuts, fresh: ReadOuts) -> SquaredErrors:
    """The errors of every step that the read-outs allow, on the test rows; maps are fitted on the `fresh` rows.

    Raises ValueError if a read-out lacks a sample, no fresh row has a distribution, or all fresh rows are in one
    cluster.
    """
    order = [_key(row) for row in test.stated]
    stated, own = list(test.stated), _aligned(test.probability, order)
    floors = cross_fitted_floors(fresh.probability)
    best = floors.best
    confidences = fit_recalibrator(fresh.probability, best.signal, best.kind, per_task=True).confidences(own)
    steps = {FLOOR: (own, confidences)}
    if test.teacher is not None and fresh.teacher is not None:
        steps[TEACHER] = _values(_tempered(_aligned(test.teacher, order), fresh.teacher))
    scaled = _tempered(own, fresh.probability)
    steps[OWN] = _values(scaled)
    steps[ANSWER] = _of_stated(scaled, stated)
    steps[ROUNDED] = steps[ANSWER][0], _rounded(steps[ANSWER][1])
    if test.expected is not None:
        steps[MEAN] = _values(_aligned(test.expected, order))
    steps[STATED] = _values(stated)
    if any(row.confidence is not None for row in fresh.stated):
        steps[MAPPED] = stated, _mapped(stated, fresh.stated, "confidence")
    right = {name: np.array([row.predicted == row.truth for row in rows], float) for name, (rows, _) in steps.items()}
    errors = {name: np.where(np.isnan(c), 1.0, (c - right[name]) ** 2) for name, (_, c) in steps.items()}
    return SquaredErrors(errors, right, tuple(row.cluster for row in stated), f"{best.kind} of the {best.signal}")


def pooled(models: Sequence[SquaredErrors]) -> SquaredErrors:
    """The rows of several models (of different seeds, say) pooled as if they were one model's. Clusters with the same
    name are merged. Steps that some models lack are left out."""
    names = [name for name in models[0].errors if all(name in model.errors for model in models)]
    errors, right = (
        {name: np.concatenate([getattr(model, part)[name] for model in models]) for name in names}
        for part in ("errors", "right")
    )
    clusters = tuple(cluster for model in models for cluster in model.clusters)
    return SquaredErrors(errors, right, clusters, ", ".join(dict.fromkeys(model.floor for model in models)))


def steps_of(model: SquaredErrors) -> list[Step]:
    """The table of steps, with cluster-robust Student's t intervals."""
    cluster = np.unique(model.clusters, return_inverse=True)[1]
    names, steps = list(model.errors), list[Step]()
    for before, name in zip([None, *names], names, strict=False):
        own = model.errors[name]
        change = None if before is None else difference(own, model.errors[before], cluster)
        above = None if before is None else difference(own, model.errors[names[0]], cluster)
        lost = "" if before is None else WITHOUT.get((name, before), LOST[name])
        steps.append(Step(name, lost, float(own.mean()), float(model.right[name].mean()), change, above))
    return steps


def difference(first: Floats, second: Floats, cluster: npt.NDArray[np.intp]) -> tuple[float, float, float]:
    """The mean of first minus second (n,) and its 95 % interval; `cluster` (n,) holds numbers from 0."""
    values = first - second
    mean, clusters = float(values.mean()), int(cluster.max()) + 1
    if clusters < 2:
        return mean, -1.0, 1.0
    half = float(student.ppf(0.975, clusters - 1)) * clustered_error(values, cluster)
    return mean, mean - half, mean + half


def _key(row: Prediction) -> tuple[str, str]:
    return row.task, row.id


def _aligned(rows: Rows, order: Sequence[tuple[str, str]]) -> list[Prediction]:
    by_key = {_key(row): row for row in rows}
    if missing := next((key for key in order if key not in by_key), None):
        raise ValueError(f"sample {missing[1]!r} of task {missing[0]!r} is not in every read-out")
    return [by_key[key] for key in order]


def _tempered(rows: list[Prediction], fresh: Rows) -> list[Prediction]:
    return fit_recalibrator(fresh, "distribution", "temperature", per_task=True).apply(rows, "temperature")


def _values(rows: list[Prediction]) -> tuple[list[Prediction], Floats]:
    """The rows and their confidences (n,), NaN if unreadable."""
    return rows, np.array([row.confidence if row.predicted is not None else None for row in rows], dtype=float)


def _of_stated(scaled: list[Prediction], stated: list[Prediction]) -> tuple[list[Prediction], Floats]:
    """The probability of the stated label, or of the likeliest label if none could be read."""
    rows = [
        own if said.predicted is None or said.predicted not in (own.distribution or {}) else _with_label(own, said)
        for own, said in zip(scaled, stated, strict=True)
    ]
    return rows, np.array([signal_of(row, "distribution") for row in rows], dtype=float)


def _with_label(own: Prediction, said: Prediction) -> Prediction:
    return replace(own, predicted=said.predicted)


def _rounded(confidences: Floats) -> Floats:
    """Round to the nearest level, keeping NaN."""
    nearest = np.abs(np.nan_to_num(confidences)[:, None] - np.array(LEVELS)).argmin(axis=1)
    return np.where(np.isnan(confidences), np.nan, np.array(LEVELS)[nearest])


def _mapped(rows: list[Prediction], fresh: Rows, signal: Signal) -> Floats:
    """The confidences after the map of the signal that has the lowest cross-fitted Brier score on the fresh rows."""
    kind = cross_fitted_floors(fresh, signal).best.kind
    return fit_recalibrator(fresh, signal, kind, per_task=True).confidences(rows)
