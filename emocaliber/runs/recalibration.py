"""Recalibrating files of predictions: choose and fit a map on calibration rows, apply it to other rows.

For a model that cannot be trained: what it states, or its label probability, is mapped after the fact. A map that does
not help by cross-validation is refused, unless it is forced.

    emocaliber recalibrate fit calibration.jsonl --out map.json
    emocaliber recalibrate apply map.json predictions.jsonl --out recalibrated.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from emocaliber.calibration.files import read_map, row_hash, write_map
from emocaliber.calibration.fit import (
    KINDS,
    CrossValidated,
    Kind,
    Recalibrator,
    Signal,
    cross_validate,
    fit_recalibrator,
    with_signal,
)
from emocaliber.calibration.maps import bound_reached
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, State, read_predictions, write_predictions
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.proper_scores import brier_score

BINS = 15


@dataclass(frozen=True)
class Fit:
    """What was fitted on `rows` rows, its cross-validation beside that of the other maps that were tried (lowest Brier
    score first; empty where it was forced on too few rows), and what is to be known of it."""

    recalibrator: Recalibrator
    rows: int
    tried: list[CrossValidated]
    notes: list[str]


def fit_file(
    calibration: Sequence[Path], signal: Signal, kind: Kind | None, out: Path, *, per_task: bool, force: bool = False
) -> Fit:
    """Fit on all rows of these files and write the map: the `kind` named, or that of the lowest cross-validated Brier
    score. Raises UserError where no row can teach it, or it does not help and is not forced."""
    rows = [row for path in calibration for row in read_predictions(path)]
    names = ", ".join(map(str, calibration))
    try:
        usable = with_signal(rows, signal)
    except ValueError as error:
        raise UserError(f"{names}: {error}; choose another with --of") from None
    try:
        tried = [cross_validate(usable, signal, each, per_task=per_task) for each in ([kind] if kind else KINDS)]
    except ValueError as error:
        if not force or kind is None:
            raise UserError(f"{names}: {error}; give more calibration rows, or name a --map and --force it") from None
        tried = []
    tried.sort(key=lambda result: result.after)
    if tried and not tried[0].helps and not force:
        raise UserError(f"{names}: {_no_help(tried, signal)}")
    chosen = kind or tried[0].kind
    fitted = fit_recalibrator(usable, signal, chosen, per_task=per_task)
    write_map(out, fitted, rows)
    return Fit(fitted, len(usable), tried, _notes(fitted))


def apply_file(path: Path, predictions: Path, out: Path) -> tuple[list[Prediction], list[Prediction]]:
    """Map the rows of a prediction file, write them, return them before and after.

    Raises UserError where a row was used to fit the map: its figures would flatter it.
    """
    recalibrator, fitted_on = read_map(path)
    rows = list(read_predictions(predictions))
    if not rows:
        raise UserError(f"{predictions} holds no row; a run writes one for every sample, refused ones too")
    if reused := next((row.id for row in rows if row_hash(row) in fitted_on), None):
        raise UserError(f"{predictions}: row {reused!r} was used to fit {path}; apply the map to rows it has not seen")
    mapped = [
        replace(new, method=f"{row.method}, {recalibrator.kind} {recalibrator.signal}")
        for row, new in zip(rows, recalibrator.apply(rows, ""), strict=True)
    ]
    write_predictions(out, mapped)
    return rows, mapped


def figures(rows: Sequence[Prediction]) -> dict[str, float]:
    """Rows, Brier score and expected calibration error (BINS bins); a row without a confidence costs the most."""
    answered = [row for row in rows if row.state is State.OK]
    stated = np.array([row.confidence for row in answered], dtype=float)
    right = np.array([row.predicted == row.truth for row in answered], dtype=float)
    counted = count_rows(stated, right, invalid=len(rows) - len(answered))
    return {"rows": len(rows), "Brier": float(brier_score(counted)), "ECE": float(ece(counted, bins=BINS))}


def _no_help(tried: Sequence[CrossValidated], signal: Signal) -> str:
    """Why nothing is written, with the figures and the way to write it all the same."""
    scores = ", ".join(f"{result.kind} {result.after:.4f}" for result in tried)
    which = "no map helps" if len(tried) > 1 else f"a {tried[0].kind} map does not help"
    least = f"one standard error ({tried[0].error:.4f})"
    other = "" if len(tried) > 1 else "; try --map auto"
    return (
        f"{which}, so none is written: the {signal} as it is has Brier score {tried[0].before:.4f}, cross-validated"
        f" {scores}; the gain must be more than {least}{other}. --map {tried[0].kind} --force writes it all the same"
    )


def _notes(fitted: Recalibrator) -> list[str]:
    """Which parameters ended at their bounds, task by task."""
    maps = {"": fitted.overall} if not fitted.tasks else {f"task {task}: ": own for task, own in fitted.tasks.items()}
    return [f"{where}{sentence}" for where, own in maps.items() if (sentence := bound_reached(own))]
