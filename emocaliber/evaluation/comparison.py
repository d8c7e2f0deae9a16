"""Paired differences between methods on the same samples, scope by scope.

Not a ranking. Two methods are compared on the samples that both have, drawn together in every replicate.

    emocaliber score first.jsonl second.jsonl
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.evaluation.figures import differences
from emocaliber.evaluation.method import Family, MethodRows, families
from emocaliber.evaluation.scopes import Scope, scopes
from emocaliber.evaluation.scorecard import Comparison, Difference, Settings
from emocaliber.evaluation.suite import Suite
from emocaliber.evaluation.tally import IntArray

_PREFIX = "headline."


def compare(first: MethodRows, second: MethodRows, suite: Suite, settings: Settings) -> list[Comparison]:
    """First minus second in every scope but the strata; nothing where they share no sample.

    Raises UserError where a shared sample has another task, group or truth in the two.
    """
    rows = shared_rows(first, second)
    if rows is None:
        return []
    first, second = _taken(first, rows[0]), _taken(second, rows[1])
    _refuse_contradictions(first, second)
    return [
        _compared(first, second, scope, suite, settings)
        for scope in scopes(first.table, suite)
        if scope.kind != "stratum"
    ]


def shared_rows(first: MethodRows, second: MethodRows) -> tuple[IntArray, IntArray] | None:
    """Row numbers, in each, of the samples that both have; None where there is none."""
    if np.array_equal(first.table.ids, second.table.ids):
        every = np.arange(len(first.table))
        return every, every
    place = {name: row for row, name in enumerate(second.table.ids.tolist())}
    pairs = [(row, place[name]) for row, name in enumerate(first.table.ids.tolist()) if name in place]
    if not pairs:
        return None
    return np.array([one for one, _ in pairs]), np.array([other for _, other in pairs])


def _taken(method: MethodRows, rows: IntArray) -> MethodRows:
    """These rows alone, and no calibration rows: thresholds are not compared."""
    whole = rows.size == len(method.table) and (rows == np.arange(rows.size)).all()
    table = method.table if whole else method.table.take(rows)
    return replace(method, table=table, calibration=None, threshold_on_test=False)


def _refuse_contradictions(first: MethodRows, second: MethodRows) -> None:
    one, other = first.table, second.table
    for key, left, right in (
        ("task", (one.task.names, one.task.codes), (other.task.names, other.task.codes)),
        ("group", (one.group.names, one.group.codes), (other.group.names, other.group.codes)),
        ("truth", (one.labels, one.truth), (other.labels, other.truth)),
    ):
        translate = np.array([right[0].index(name) if name in right[0] else -2 for name in left[0]])
        if (wrong := translate[left[1]] != right[1]).any():
            row = int(np.argmax(wrong))
            raise UserError(
                f"sample {one.ids[row]!r} has {key} {left[0][left[1][row]]!r} in {one.method!r} and"
                f" {right[0][right[1][row]]!r} in {other.method!r}: the files are not of the same samples"
            )


def _compared(first: MethodRows, second: MethodRows, scope: Scope, suite: Suite, settings: Settings) -> Comparison:
    tasks = [[task] for task in scope.tasks] if scope.aggregation == "macro" else [scope.tasks]

    def measured(method: MethodRows) -> list[dict[str, Family]]:
        own = zip(scope.rows, tasks, strict=True)
        return [families(method, rows, task, suite, settings, headline_only=True) for rows, task in own]

    pairs = list(zip(measured(first), measured(second), strict=True))
    found: dict[str, Difference] = {}
    for kind in ("confidence", "label", "distribution"):
        if all(kind in one and kind in other for one, other in pairs):
            parts = [(one[kind][0], other[kind][0]) for one, other in pairs]
            clusters = first.clusters(one[kind][1] for one, _ in pairs)
            found |= differences(parts, clusters, settings)
    headline = {name.removeprefix(_PREFIX): value for name, value in found.items() if name.startswith(_PREFIX)}
    return Comparison(
        first.table.method,
        second.table.method,
        scope.kind,
        scope.name,
        scope.aggregation,
        sum(rows.size for rows in scope.rows),
        headline,
    )
