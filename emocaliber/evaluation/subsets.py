"""A method's rows, and the subsets in a scorecard: all rows, each group, each task, and strata of ambiguity.

A subset is one set of rows (pooled) or one set per task (macro: the unweighted mean over tasks).

    [subset.name for subset in subsets(table, suite)]       # "all", the groups, the tasks, "unanimous" ...
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emocaliber.core.prediction_table import PredictionTable
from emocaliber.evaluation.counts import BoolArray, IntArray
from emocaliber.evaluation.distributional import strata
from emocaliber.evaluation.scorecard import Aggregation, Role, SubsetKind
from emocaliber.evaluation.suite import Suite


@dataclass(frozen=True)
class MethodRows:
    """A method's test rows, with its calibration rows if there are any. `note` describes a reference method; an
    `oracle` was fitted on the test rows."""

    table: PredictionTable
    calibration: PredictionTable | None
    role: Role = "method"
    note: str = ""
    oracle: bool = False
    threshold_on_test: bool = False

    @cached_property
    def clustered(self) -> bool:
        """Whether any cluster has two rows, so that clusters are resampled instead of rows."""
        return np.unique(self.table.cluster).size < len(self.table)

    def clusters(self, parts: Iterable[IntArray]) -> list[IntArray] | None:
        """The clusters of each part's rows; None if rows are resampled."""
        return [self.table.cluster[rows].astype(np.int64) for rows in parts] if self.clustered else None


@dataclass(frozen=True)
class Subset:
    """A subset of rows. `parts` holds (row numbers, their tasks): one pair if pooled, one per task if macro."""

    kind: SubsetKind
    name: str
    aggregation: Aggregation
    tasks: list[str]
    parts: list[tuple[IntArray, list[str]]]

    @property
    def rows(self) -> IntArray:
        """All row numbers, (n,)."""
        return np.concatenate([rows for rows, _ in self.parts])


def subsets(table: PredictionTable, suite: Suite) -> list[Subset]:
    """Every non-empty subset: all, groups, tasks (in the suite's order), then strata of ambiguity."""
    selected = _pooled_and_macro(table, suite, "all", "all", np.ones(len(table), bool))
    for group in suite.groups:
        selected += _pooled_and_macro(table, suite, "group", group, table.group.codes == table.group.code(group))
    for task in suite.tasks:
        selected += _pooled_and_macro(table, suite, "task", task, table.task.codes == table.task.code(task))[:1]
    if table.votes is not None:
        voted = np.flatnonzero(table.votes.sum(-1) > 0)
        for name, mask in strata(table.votes[voted]).items():
            inside = np.zeros(len(table), bool)
            inside[voted[mask]] = True
            selected += _pooled_and_macro(table, suite, "stratum", name, inside)[:1]
    return selected


def _pooled_and_macro(
    table: PredictionTable, suite: Suite, kind: SubsetKind, name: str, inside: BoolArray
) -> list[Subset]:
    """The pooled subset and, with two tasks or more, the macro one; empty if there are no rows."""
    by_task = {task: np.flatnonzero(inside & (table.task.codes == table.task.code(task))) for task in suite.tasks}
    by_task = {task: rows for task, rows in by_task.items() if rows.size}
    tasks = list(by_task)
    if not tasks:
        return []
    pooled = Subset(kind, name, "pooled", tasks, [(np.flatnonzero(inside), tasks)])
    macro = Subset(kind, name, "macro", tasks, [(rows, [task]) for task, rows in by_task.items()])
    return [pooled, macro] if len(tasks) > 1 else [pooled]
