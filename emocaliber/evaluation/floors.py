"""Floors: what any method must beat with the same labels: a constant confidence per task, and isotonic recalibration.

Not baselines that are trained (see emocaliber.baselines): these take nothing but the rows.

    python -m pytest tests/evaluation/test_floors.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emocaliber.calibration.maps import fit_isotonic
from emocaliber.core.prediction_table import SOURCES, STATES, PredictionTable
from emocaliber.core.predictions import Source, State
from emocaliber.evaluation.tally import BoolArray, FloatArray

CONSTANT = "constant per task"
ISOTONIC = "isotonic"


def constant_per_task(table: PredictionTable, calibration: PredictionTable | None) -> PredictionTable:
    """Every label stated with the accuracy of its task on the calibration rows; where they have none of the task,
    with their overall accuracy; without calibration rows, with the test rows' own accuracy (an oracle)."""
    source = table if calibration is None else calibration
    overall = float(source.label_right().mean())
    stated = np.full(len(table), overall)
    for task in table.task.names:
        rows = source.task.codes == source.task.code(task)
        if rows.any():
            stated[table.task.codes == table.task.code(task)] = float(source.label_right()[rows].mean())
    return _restated(table, CONSTANT, stated, table.predicted >= 0, Source.CONSTANT)


def isotonic(table: PredictionTable, calibration: PredictionTable) -> PredictionTable | None:
    """The stated confidence mapped by isotonic regression on the answered calibration rows; None where there are
    none."""
    rows = calibration.usable()
    if not rows.any():
        return None
    fitted = fit_isotonic(calibration.confidence[rows], calibration.label_right()[rows])
    stated = np.full(len(table), np.nan)
    usable = table.usable()
    if usable.any():
        stated[usable] = fitted(table.confidence[usable])
    return _restated(table, ISOTONIC, stated, usable, Source.POSTHOC)


def _restated(
    table: PredictionTable, name: str, confidence: FloatArray, answered: BoolArray, source: Source
) -> PredictionTable:
    """The same labels with another confidence; rows that lack a label keep their state."""
    states = np.where(answered, STATES.index(State.OK), table.states).astype(np.int8)
    return replace(
        table,
        method=f"{name} ({table.method})",
        confidence=np.where(answered, confidence, np.nan),
        states=states,
        sources=np.full(len(table), SOURCES.index(source), np.int8),
        probability=np.full(len(table), np.nan),
        distributions=None,
    )
