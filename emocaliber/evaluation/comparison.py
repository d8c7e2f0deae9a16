"""Paired differences between two methods, subset by subset.

Two methods are compared on the samples that both have, drawn together in every replicate.

    emocaliber score first.jsonl second.jsonl
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.evaluation.counts import IntArray
from emocaliber.evaluation.panel import Panel
from emocaliber.evaluation.scorecard import Comparison, Settings
from emocaliber.evaluation.subsets import MethodRows, subsets
from emocaliber.evaluation.suite import Suite


def compare(first: MethodRows, second: MethodRows, suite: Suite, settings: Settings) -> list[Comparison]:
    """First minus second in every subset but the strata; nothing where they share no sample.

    Raises UserError where a shared sample has another task, group or truth in the two.
    """
    shared = _shared_rows(first, second)
    if shared is None:
        return []
    first, second = _taken(first, shared[0]), _taken(second, shared[1])
    _refuse_contradictions(first, second)
    return compare_within(Panel([first, second], suite, settings, headline_only=True), 0, 1)


def compare_within(panel: Panel, first: int, second: int) -> list[Comparison]:
    """First minus second of a panel's methods, in every subset but the strata."""
    left, right = panel.methods[first].table, panel.methods[second].table
    return [
        Comparison(
            left.method,
            right.method,
            subset.kind,
            subset.name,
            subset.aggregation,
            int(subset.rows.size),
            panel.differences(first, second, subset),
        )
        for subset in subsets(left, panel.suite)
        if subset.kind != "stratum"
    ]


def _shared_rows(first: MethodRows, second: MethodRows) -> tuple[IntArray, IntArray] | None:
    """Row numbers, in each, of the samples that both have; None where there is none."""
    if np.array_equal(first.table.ids, second.table.ids):
        every = np.arange(len(first.table))
        return every, every
    place = {name: row for row, name in enumerate(second.table.ids.tolist())}
    pairs = [(row, place[name]) for row, name in enumerate(first.table.ids.tolist()) if name in place]
    if not pairs:
        return None
    return np.array([row for row, _ in pairs]), np.array([row for _, row in pairs])


def _taken(method: MethodRows, rows: IntArray) -> MethodRows:
    """These rows alone, and no calibration rows: thresholds are not compared."""
    all_of_them = rows.size == len(method.table) and (rows == np.arange(rows.size)).all()
    table = method.table if all_of_them else method.table.take(rows)
    return replace(method, table=table, calibration=None, threshold_on_test=False)


def _refuse_contradictions(first: MethodRows, second: MethodRows) -> None:
    a, b = first.table, second.table
    for key, left, right in (
        ("task", (a.task.names, a.task.codes), (b.task.names, b.task.codes)),
        ("group", (a.group.names, a.group.codes), (b.group.names, b.group.codes)),
        ("truth", (a.labels, a.truth), (b.labels, b.truth)),
    ):
        translate = np.array([right[0].index(name) if name in right[0] else -2 for name in left[0]])
        if (wrong := translate[left[1]] != right[1]).any():
            row = int(np.argmax(wrong))
            raise UserError(
                f"sample {a.ids[row]!r} has {key} {left[0][left[1][row]]!r} in {a.method!r} and"
                f" {right[0][right[1][row]]!r} in {b.method!r}: the files are not of the same samples"
            )
