"""Scopes: which rows a figure is about, for every task, group, stratum and all rows, pooled and macro.

Not a measurement. A scope is one set of rows (pooled) or one for each of its tasks (macro: the unweighted mean over
tasks).

    python -m pytest tests/evaluation/test_scopes.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.prediction_table import Coded, PredictionTable
from emocaliber.evaluation.ambiguity import strata
from emocaliber.evaluation.scorecard import Aggregation, ScopeKind
from emocaliber.evaluation.suite import Suite, Task
from emocaliber.evaluation.tally import BoolArray, IntArray


@dataclass(frozen=True)
class Scope:
    """`rows` holds one array of row numbers if pooled, one for each of `tasks` if macro."""

    kind: ScopeKind
    name: str
    aggregation: Aggregation
    tasks: list[str]
    rows: list[IntArray]


def scopes(table: PredictionTable, suite: Suite) -> list[Scope]:
    """Every scope that has rows: all, groups, tasks (in the suite's order), then strata of ambiguity."""
    every = np.ones(len(table), bool)
    found = _both(table, suite, "all", "all", every)
    for group in suite.groups:
        found += _both(table, suite, "group", group, table.group.codes == table.group.code(group))
    for task in suite.tasks:
        found += _both(table, suite, "task", task, table.task.codes == table.task.code(task))[:1]
    if table.votes is not None:
        voted = np.flatnonzero(table.votes.sum(-1) > 0)
        for name, mask in strata(table.votes[voted]).items():
            inside = np.zeros(len(table), bool)
            inside[voted[mask]] = True
            found += _both(table, suite, "stratum", name, inside)[:1]
    return found


def suite_of(tables: Iterable[PredictionTable]) -> Suite:
    """The suite that the rows themselves make: their tasks, groups and labels in alphabetical order."""
    tasks: dict[str, Task] = {}
    groups: dict[str, tuple[str, ...]] = {}
    for table in tables:
        for task in table.task.names:
            known = tasks[task].labels if task in tasks else ()
            tasks[task] = Task(tuple(dict.fromkeys((*known, *_labels_of(table, task)))))
        for group in table.group.names:
            inside = np.unique(table.task.codes[table.group.codes == table.group.code(group)])
            members = (*groups.get(group, ()), *(table.task.names[code] for code in inside))
            groups[group] = tuple(dict.fromkeys(members))
    return Suite(
        "",
        {name: Task(tuple(sorted(tasks[name].labels))) for name in sorted(tasks)},
        {name: tuple(sorted(groups[name])) for name in sorted(groups) if name},
    )


def completed(suite: Suite, tables: Iterable[PredictionTable]) -> Suite:
    """The suite with the labels that the rows name for every task whose labels it leaves open."""
    named = suite_of(tables).tasks
    tasks = {
        name: task if task.labels or name not in named else replace(task, labels=named[name].labels)
        for name, task in suite.tasks.items()
    }
    return replace(suite, tasks=tasks)


def fitted(table: PredictionTable, suite: Suite) -> PredictionTable:
    """The table with every row in a group of the suite where it names one.

    Raises UserError for a task, group or true label that the suite does not have.
    """
    _refuse_unknown("task", table.task.names, suite.tasks)
    table = replace(table, group=_grouped(table, suite))
    _refuse_unknown("group", table.group.names, suite.groups)
    for name, task in suite.tasks.items():
        rows = table.task.codes == table.task.code(name)
        true = {table.labels[code] for code in np.unique(table.truth[rows])}
        _refuse_unknown(f"true label of task {name!r}", sorted(true), task.labels)
    return table


def label_codes(table: PredictionTable, suite: Suite, tasks: Sequence[str]) -> IntArray:
    """The codes, in the table's vocabulary, of the labels of these tasks that any row names."""
    labels = dict.fromkeys(label for task in tasks for label in suite.tasks[task].labels)
    return np.array([table.labels.index(label) for label in labels if label in table.labels], np.int64)


def _both(table: PredictionTable, suite: Suite, kind: ScopeKind, name: str, inside: BoolArray) -> list[Scope]:
    """Pooled and, where there are two tasks or more, macro; nothing where there are no rows."""
    by_task = {task: np.flatnonzero(inside & (table.task.codes == table.task.code(task))) for task in suite.tasks}
    by_task = {task: rows for task, rows in by_task.items() if rows.size}
    tasks = list(by_task)
    if not tasks:
        return []
    pooled = Scope(kind, name, "pooled", tasks, [np.flatnonzero(inside)])
    return [pooled, Scope(kind, name, "macro", tasks, list(by_task.values()))] if len(tasks) > 1 else [pooled]


def _labels_of(table: PredictionTable, task: str) -> tuple[str, ...]:
    rows = table.task.codes == table.task.code(task)
    named = set(table.truth[rows]) | set(table.predicted[rows]) - {-1}
    for shares in (table.votes, table.distributions):
        if shares is not None:
            named |= set(np.flatnonzero((np.nan_to_num(shares[rows]) > 0).any(0)))
    return tuple(table.labels[code] for code in sorted(named))


def _grouped(table: PredictionTable, suite: Suite) -> Coded:
    """Rows without a group take that of their task, where the suite lists the task in one only."""
    if "" not in table.group.names:
        return table.group
    names = list(suite.groups) + [name for name in (*table.group.names, "") if name not in suite.groups]
    names = list(dict.fromkeys(names))
    of_group = np.array([names.index(name) for name in table.group.names], np.int32)
    of_task = np.array([names.index(suite.only_group_of(name) or "") for name in table.task.names], np.int32)
    own = of_group[table.group.codes]
    codes = np.where(own == names.index(""), of_task[table.task.codes], own).astype(np.int32)
    used = np.unique(codes)
    return Coded(np.searchsorted(used, codes).astype(np.int32), tuple(names[code] for code in used))


def _refuse_unknown(what: str, names: Sequence[str], known: Mapping[str, object] | Sequence[str]) -> None:
    if unknown := [name for name in names if name not in known and name]:
        raise UserError(f"the suite has no {what} {unknown}; it has {list(known)}: mend the rows or the suite file")
