"""One method's scores: the parts of each of its scopes, measured and put in their places.

Not the comparison of two methods (see comparison).

    python -m pytest tests/evaluation/test_build.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emocaliber.core.prediction_table import SOURCES, STATES, PredictionTable
from emocaliber.evaluation import trusted
from emocaliber.evaluation.ambiguity import agreement
from emocaliber.evaluation.calibration import classwise_ece
from emocaliber.evaluation.distributional import distribution
from emocaliber.evaluation.figures import estimates
from emocaliber.evaluation.parts import Part, confidence_part, label_part
from emocaliber.evaluation.reliability import histogram, reliability_curve
from emocaliber.evaluation.row_parts import alignment_part, distribution_part
from emocaliber.evaluation.scopes import Scope, label_codes, scopes
from emocaliber.evaluation.scorecard import (
    Curves,
    Estimate,
    MethodScores,
    Role,
    Scores,
    Settings,
    Trusted,
    estimate,
)
from emocaliber.evaluation.selective import risk_coverage
from emocaliber.evaluation.suite import Suite
from emocaliber.evaluation.tally import FloatArray, IntArray, Tally, tally

Family = tuple[Part, IntArray]
"""A part and the numbers of the table's rows that it measures."""


@dataclass(frozen=True)
class MethodRows:
    """A method's test rows with what is needed to judge them. `note` says what a floor is."""

    table: PredictionTable
    calibration: PredictionTable | None
    role: Role = "method"
    note: str = ""
    threshold_on_test: bool = False

    @cached_property
    def clustered(self) -> bool:
        """Whether any cluster holds two rows, so that clusters and not rows are what is drawn."""
        return np.unique(self.table.cluster).size < len(self.table)

    def clusters(self, parts: Iterable[IntArray]) -> list[IntArray] | None:
        """The cluster of each row of each part; None where rows are drawn."""
        return [self.table.cluster[rows].astype(np.int64) for rows in parts] if self.clustered else None


def method_scores(method: MethodRows, suite: Suite, settings: Settings) -> MethodScores:
    """Every scope of one method."""
    table = method.table
    usable = table.usable()
    return MethodScores(
        table.method,
        method.role,
        method.note,
        [SOURCES[code].value for code in np.unique(table.sources)],
        int(np.unique(table.confidence[usable]).size),
        [_scores(method, scope, suite, settings) for scope in scopes(table, suite)],
    )


def families(
    method: MethodRows,
    rows: IntArray,
    tasks: Sequence[str],
    suite: Suite,
    settings: Settings,
    *,
    headline_only: bool = False,
) -> dict[str, Family]:
    """The parts that apply to these rows, by the kind of their cells."""
    table, usable, right = method.table, method.table.usable()[rows], method.table.label_right()[rows]
    shared = None
    if table.votes is not None and (table.votes[rows].sum(-1) > 0).all():
        shared = agreement(table.votes[rows], table.predicted[rows])
    chosen = _thresholds(method, rows, tasks, settings)
    stated = confidence_part(
        table.confidence[rows],
        right,
        usable,
        shared,
        thresholds=chosen,
        settings=settings,
        headline_only=headline_only,
    )
    found: dict[str, Family] = {"confidence": (stated, rows)}
    if table.truth[rows].min() < table.truth[rows].max():
        truth, predicted = table.truth[rows].astype(np.int64), table.predicted[rows].astype(np.int64)
        found["label"] = (label_part(truth, predicted, usable, len(table.labels)), rows)
    return found | _row_families(method, rows, tasks, suite, settings)


def _row_families(
    method: MethodRows, rows: IntArray, tasks: Sequence[str], suite: Suite, settings: Settings
) -> dict[str, Family]:
    table = method.table
    found: dict[str, Family] = {}
    if table.votes is not None and table.distributions is not None:
        voted = rows[table.votes[rows].sum(-1) > 0]
        if voted.size and np.isfinite(table.distributions[voted]).any():
            columns = label_codes(table, suite, tasks)
            labels = np.array([len(suite.tasks[name].labels) for name in table.task.names], np.float64)
            raters = distribution(table.votes[voted][:, columns], "votes")
            guess = table.distributions[voted][:, columns]
            usable = table.usable()[voted] & (np.nan_to_num(guess).sum(-1) > 0)
            guess = np.where(usable[:, None], guess, raters)
            per_row = labels[table.task.codes[voted]]
            part = distribution_part(raters, distribution(guess, "distribution"), usable, per_row, settings)
            found["distribution"] = (part, voted)
    both = rows[table.usable()[rows] & np.isfinite(table.probability[rows])]
    if both.size > 1:
        found["alignment"] = (alignment_part(table.confidence[both], table.probability[both]), both)
    return found


def _scores(method: MethodRows, scope: Scope, suite: Suite, settings: Settings) -> Scores:
    table, every = method.table, np.concatenate(scope.rows)
    tasks = [[task] for task in scope.tasks] if scope.aggregation == "macro" else [scope.tasks]
    parts = [families(method, rows, own, suite, settings) for rows, own in zip(scope.rows, tasks, strict=True)]
    values: dict[str, Estimate] = {}
    for kind in parts[0]:
        if all(kind in one for one in parts):
            clusters = method.clusters(one[kind][1] for one in parts)
            values |= estimates([one[kind][0] for one in parts], clusters, settings)
    values |= _classwise(method, scope, suite, settings)
    pooled = scope.aggregation == "pooled"
    thresholds = _thresholds(method, every, scope.tasks, settings)
    states = np.bincount(table.states[every], minlength=len(STATES))
    return Scores(
        scope.kind,
        scope.name,
        scope.aggregation,
        scope.tasks,
        int(every.size),
        int(table.usable()[every].sum()),
        int(np.unique(table.cluster[every]).size) if method.clustered else int(every.size),
        {state.value: int(count) for state, count in zip(STATES, states, strict=True) if count},
        _under(values, "headline."),
        _under(values, "answered."),
        [_trusted(rule, found if pooled else np.nan, method, values) for rule, found in thresholds.items()],
        _curves(_tally(table, every), settings) if pooled else None,
    )


def _thresholds(method: MethodRows, rows: IntArray, tasks: Sequence[str], settings: Settings) -> dict[str, float]:
    """Each rule's threshold: on the calibration rows of these tasks, on all where they have none; infinity for
    none."""
    if method.calibration is None:
        if not method.threshold_on_test:
            return {}
        chosen = _tally(method.table, rows)
    else:
        codes = [method.calibration.task.code(task) for task in tasks]
        own = np.flatnonzero(np.isin(method.calibration.task.codes, codes))
        chosen = _tally(method.calibration, own if own.size else np.arange(len(method.calibration)))
    answered = chosen.answered_only()
    bound = f"risk at most {settings.risk:g} with confidence {settings.level:g}"
    return {
        "best F1": trusted.best_f1_threshold(answered),
        "precision-recall crossing": trusted.crossing_threshold(answered),
        bound: trusted.risk_threshold(answered, risk=settings.risk, confidence=settings.level),
    }


def _tally(table: PredictionTable, rows: IntArray) -> Tally:
    usable, right = table.usable()[rows], table.label_right()[rows]
    refused = int((~usable).sum())
    refused_right = int((right & ~usable).sum())
    return tally(table.confidence[rows][usable], right[usable], refused=refused, refused_right=refused_right)


def _trusted(rule: str, threshold: float, method: MethodRows, values: Mapping[str, Estimate]) -> Trusted:
    own = _under(values, f"trusted.{rule}.")
    return Trusted(rule, "test" if method.calibration is None else "calibration", estimate(threshold).value, **own)


def _under(values: Mapping[str, Estimate], prefix: str) -> dict[str, Estimate]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _curves(rows: Tally, settings: Settings) -> Curves:
    return Curves(
        reliability_curve(rows, bins=settings.bins, edges=settings.edges, level=settings.level),
        histogram(rows, edges=settings.edges),
        risk_coverage(rows),
        trusted.trusted_curve(rows),
    )


def _classwise(method: MethodRows, scope: Scope, suite: Suite, settings: Settings) -> dict[str, Estimate]:
    """Classwise ECE of one task's distributions, without an interval: labels of several tasks are not one set."""
    table, rows = method.table, scope.rows[0]
    if table.distributions is None or len(scope.tasks) > 1:
        return {}
    columns = label_codes(table, suite, scope.tasks)
    shares: FloatArray = np.nan_to_num(table.distributions[rows][:, columns])
    usable = table.usable()[rows] & (shares.sum(-1) > 0)
    if not usable.any():
        return {}
    guess = distribution(shares[usable], "distribution")
    truth = np.argmax(table.truth[rows][usable][:, None] == columns, -1)
    refused = int((~usable).sum())
    return {
        "headline.classwise_ece": estimate(
            classwise_ece(guess, truth, bins=settings.bins, edges=settings.edges, refused=refused)
        ),
        "answered.classwise_ece": estimate(classwise_ece(guess, truth, bins=settings.bins, edges=settings.edges)),
    }
