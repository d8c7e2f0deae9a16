"""Reference methods, computed from a method's own rows: a constant confidence per task, and isotonic recalibration.

If two panels rated the same images, the first panel is a human reference: its vote share as a confidence in the second
panel's label.

Trained baselines are in emocaliber.baselines. A method whose Brier score is not below that of the constant has a
confidence that adds nothing to its labels. References fitted on the test rows themselves are oracles, and marked so.

    constant_per_task(table, calibration)       # confidence: the task's accuracy on the calibration rows
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from emocaliber.calibration.maps import fit_isotonic
from emocaliber.core.prediction_table import SOURCES, STATES, PredictionTable
from emocaliber.core.predictions import Source, State
from emocaliber.evaluation.counts import BoolArray, FloatArray
from emocaliber.evaluation.subsets import MethodRows

CONSTANT = "constant per task"
ISOTONIC = "isotonic"
HUMAN = "human: the first panel"


def references(method: MethodRows) -> list[MethodRows]:
    """The method's labels with a constant confidence and, if there are calibration rows, with its confidence
    recalibrated."""
    calibration = method.calibration
    constant = constant_per_task(method.table, calibration)
    if calibration is None:
        note = "every label with its task's accuracy on these test rows (an oracle)"
        return [MethodRows(constant, None, "reference", note, oracle=True)]
    note = "every label with its task's accuracy on the calibration rows"
    fitted = [MethodRows(constant, None, "reference", note)]
    recalibrated = isotonic(method.table, calibration)
    if recalibrated is not None:
        note = "the method's confidence after isotonic regression on the calibration rows"
        fitted.append(MethodRows(recalibrated, None, "reference", note))
    return fitted


def human_rows(methods: Iterable[MethodRows]) -> list[MethodRows]:
    """The human reference: the first panel's label, with its vote share as the confidence that the second panel agrees.
    Methods on the same rows share one."""
    first: dict[tuple[str, ...], MethodRows] = {}
    for method in methods:
        table = method.table
        if table.votes is None or table.second_votes is None:
            continue
        has_both = (table.votes.sum(-1) > 0) & (table.second_votes.sum(-1) > 0)
        if has_both.any():
            human = _human_row(table.take(np.flatnonzero(has_both)), named=bool(first))
            note = "the label of the first panel, and its share as the confidence in the second panel's label"
            first.setdefault(tuple(human.ids.tolist()), MethodRows(human, None, "reference", note))
    return list(first.values())


def _human_row(table: PredictionTable, *, named: bool) -> PredictionTable:
    """The human reference for rows with votes of two panels. Its prediction is the first panel's label; it has no truth
    of its own."""
    votes = np.zeros((len(table), 1)) if table.votes is None else table.votes
    raters = votes.sum(-1) if table.raters is None else np.where(np.isnan(table.raters), votes.sum(-1), table.raters)
    share = np.take_along_axis(votes, table.truth[:, None].astype(np.int64), 1)[:, 0] / raters
    human = _with_confidence(table, HUMAN, np.minimum(share, 1.0), np.ones(len(table), bool), Source.SAMPLED)
    return replace(human, method=human.method if named else HUMAN, predicted=table.truth,
                   truth=np.full_like(table.truth, -1))  # fmt: skip


def distinct(methods: Iterable[MethodRows]) -> list[MethodRows]:
    """The methods without duplicates: methods with the same labels have the same constant."""
    first: dict[tuple[bytes, ...], MethodRows] = {}
    for method in methods:
        table = method.table
        key = (table.label_right().tobytes(), table.confidence.tobytes(), table.task.codes.tobytes())
        first.setdefault(key, method)
    return list(first.values())


def constant_per_task(table: PredictionTable, calibration: PredictionTable | None) -> PredictionTable:
    """The same labels, each with its task's accuracy on the calibration rows as the confidence, or with the overall
    accuracy if the task has no calibration rows; without calibration rows, with the test rows' own accuracy (an
    oracle)."""
    source = table if calibration is None else calibration
    right, weight = source.label_right(), source.weight
    confidence = np.full(len(table), float(np.average(right, weights=weight)))
    for task in table.task.names:
        rows = source.task.codes == source.task.code(task)
        if rows.any():
            confidence[table.task.codes == table.task.code(task)] = float(
                np.average(right[rows], weights=None if weight is None else weight[rows])
            )
    return _with_confidence(table, CONSTANT, confidence, table.predicted >= 0, Source.CONSTANT)


def isotonic(table: PredictionTable, calibration: PredictionTable) -> PredictionTable | None:
    """The confidence mapped by isotonic regression on the answered calibration rows; None if there are none."""
    rows = calibration.usable()
    if not rows.any():
        return None
    fitted = fit_isotonic(calibration.confidence[rows], calibration.label_right()[rows])
    confidence = np.full(len(table), np.nan)
    usable = table.usable()
    if usable.any():
        confidence[usable] = fitted(table.confidence[usable])
    return _with_confidence(table, ISOTONIC, confidence, usable, Source.POSTHOC)


def _with_confidence(
    table: PredictionTable, name: str, confidence: FloatArray, answered: BoolArray, source: Source
) -> PredictionTable:
    """The same labels with another confidence; rows without a label keep their state."""
    states = np.where(answered, STATES.index(State.OK), table.states).astype(np.int8)
    return replace(
        table,
        method=f"{name} ({table.method})",
        confidence=np.where(answered, confidence, np.nan),
        states=states,
        sources=np.full(len(table), SOURCES.index(source), np.int8),
        probability=np.full(len(table), np.nan),
        distributions=None,
        sets=None,
        nominal_coverage=None,
        doubts=None,
        reasons=None,
    )
