"""Suites (the tasks, labels and groups of a benchmark) and published figures to print beside a scorecard.

A suite comes from a YAML file or is derived from the rows. The keys of the file:

    name: tiny
    tasks:
      kaomoji: {labels: [happy, sad], rows: 1081}     labels: null takes the labels from the rows; rows (optional) is
      FI-8: {taxonomy: mikels-8}                      the number of test rows; taxonomy gives the labels by name
    groups:
      trained styles: [kaomoji]                       the tasks that have rows in the group
    layout: vecbench                                  optional: the layout that `emocaliber data` reads it with,
    splits: [train, test]                             its splits (default: test),
    source: https://...                               and where to get it

Published figures come from files under eval/reference, each with its source:

    system: EmoCaliber
    source: who published them, where
    figures:
      - {kind: task, name: FI-2, aggregation: pooled, metric: accuracy, value: 0.881}

    emocaliber score predictions.jsonl --suite eval/suites/tiny.yaml --reference eval/reference/emocaliber.yaml
    emocaliber data check DIR --suite eval/suites/emoset.yaml --out out/check
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.files import read_mapping
from emocaliber.core.prediction_table import Categorical, PredictionTable
from emocaliber.core.taxonomy import TAXONOMIES
from emocaliber.evaluation.counts import IntArray
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Aggregation, PublishedFigure, SubsetKind


@dataclass(frozen=True)
class Task:
    """A task's labels, in order (empty: taken from its rows), and its number of test rows (None: not stated)."""

    labels: tuple[str, ...]
    rows: int | None = None


@dataclass(frozen=True)
class Suite:
    """Tasks and groups by name, in print order."""

    name: str
    tasks: dict[str, Task]
    groups: dict[str, tuple[str, ...]]
    layout: str | None = None
    splits: tuple[str, ...] = ("test",)
    source: str = ""

    def only_group_of(self, task: str) -> str | None:
        """The group of a task's rows that name none: the group that lists the task, if only one does; else None."""
        groups = [name for name, tasks in self.groups.items() if task in tasks]
        return groups[0] if len(groups) == 1 else None


def load_suite(path: Path) -> Suite:
    """Read a suite file. Raises UserError naming the file and the key."""
    content = load_mapping(path, {"name", "tasks", "groups"}, {"layout", "splits", "source"})
    tasks = {str(name): _task(path, str(name), value) for name, value in _mapping(path, "tasks", content).items()}
    groups = {str(name): tuple(map(str, value)) for name, value in _mapping(path, "groups", content).items()}
    for name, members in groups.items():
        if unknown := set(members) - set(tasks):
            raise UserError(f"{path}: group {name!r} lists {sorted(unknown)}, which are not under 'tasks'")
    splits, layout = content.get("splits", ["test"]), content.get("layout")
    if not (isinstance(splits, list) and splits and all(isinstance(split, str) for split in splits)):
        raise UserError(f"{path}: 'splits' must be a list such as [train, test], is {splits!r}")
    source = str(content.get("source", ""))
    return Suite(str(content["name"]), tasks, groups, layout and str(layout), tuple(splits), source)


def load_mapping(path: Path, keys: set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """A YAML file whose mapping has exactly these keys and any of the optional ones. Raises UserError if it differs."""
    content = read_mapping(path)
    if not keys <= set(content) <= keys | optional:
        raise UserError(f"{path}: its keys must be exactly {sorted(keys)}; found {sorted(map(str, content))}")
    return content


def suite_of(tables: Iterable[PredictionTable]) -> Suite:
    """The suite derived from the rows: their tasks, groups and labels in alphabetical order."""
    tasks: dict[str, Task] = {}
    groups: dict[str, tuple[str, ...]] = {}
    for table in tables:
        for task in table.task.names:
            before = tasks[task].labels if task in tasks else ()
            tasks[task] = Task(tuple(dict.fromkeys((*before, *_labels_of(table, task)))))
        for group in table.group.names:
            inside = np.unique(table.task.codes[table.group.codes == table.group.code(group)])
            members = (*groups.get(group, ()), *(table.task.names[code] for code in inside))
            groups[group] = tuple(dict.fromkeys(members))
    return Suite(
        "",
        {name: Task(tuple(sorted(tasks[name].labels))) for name in sorted(tasks)},
        {name: tuple(sorted(groups[name])) for name in sorted(groups) if name},
    )


def complete(suite: Suite, tables: Iterable[PredictionTable]) -> Suite:
    """The suite, with the labels of the rows for every task whose labels it leaves open."""
    named = suite_of(tables).tasks
    tasks = {
        name: task if task.labels or name not in named else replace(task, labels=named[name].labels)
        for name, task in suite.tasks.items()
    }
    return replace(suite, tasks=tasks)


def conform(table: PredictionTable, suite: Suite) -> PredictionTable:
    """The table with the suite's group filled in for rows that name none.

    Raises UserError for a task, group or true label that the suite does not have.
    """
    _require("task", table.task.names, suite.tasks)
    table = replace(table, group=_grouped(table, suite))
    _require("group", table.group.names, suite.groups)
    for name, task in suite.tasks.items():
        rows = table.task.codes == table.task.code(name)
        true = {table.labels[code] for code in np.unique(table.truth[rows])}
        _require(f"true label of task {name!r}", sorted(true), task.labels)
    return table


def label_codes(table: PredictionTable, suite: Suite, tasks: Sequence[str]) -> IntArray:
    """The codes, in the table's `labels`, of these tasks' labels that occur in any row."""
    labels = dict.fromkeys(label for task in tasks for label in suite.tasks[task].labels)
    return np.array([table.labels.index(label) for label in labels if label in table.labels], np.int64)


def _mapping(path: Path, key: str, content: dict[str, Any]) -> dict[Any, Any]:
    value = content[key]
    if not isinstance(value, dict):
        raise UserError(f"{path}: {key!r} must be a mapping, such as `{key}: {{NAME: ...}}`")
    return value


def _task(path: Path, name: str, value: object) -> Task:
    if not isinstance(value, dict) or set(value) - {"rows"} not in ({"labels"}, {"taxonomy"}):
        raise UserError(f"{path}: task {name!r} must have 'labels' or 'taxonomy', may have 'rows', and nothing else")
    rows, taxonomy = value.get("rows"), value.get("taxonomy")
    if taxonomy is not None and taxonomy not in TAXONOMIES:
        raise UserError(f"{path}: taxonomy {taxonomy!r} of task {name!r} is not one of {', '.join(TAXONOMIES)}")
    labels = list(TAXONOMIES[taxonomy].labels) if taxonomy is not None else value["labels"]
    if labels is None:
        labels = []
    elif not isinstance(labels, list) or len(set(map(str, labels))) < max(2, len(labels)):
        raise UserError(f"{path}: the labels of task {name!r} must be null or a list of at least two different names")
    if rows is not None and type(rows) is not int:
        raise UserError(f"{path}: 'rows' of task {name!r} must be a whole number, is {rows!r}")
    return Task(tuple(map(str, labels)), rows)


def _labels_of(table: PredictionTable, task: str) -> tuple[str, ...]:
    rows = table.task.codes == table.task.code(task)
    named = set(table.truth[rows]) | set(table.predicted[rows]) - {-1}
    for shares in (table.votes, table.distributions):
        if shares is not None:
            named |= set(np.flatnonzero((np.nan_to_num(shares[rows]) > 0).any(0)))
    return tuple(table.labels[code] for code in sorted(named))


def _grouped(table: PredictionTable, suite: Suite) -> Categorical:
    """The groups, with rows without one assigned to their task's group, if only one group lists the task."""
    if "" not in table.group.names:
        return table.group
    names = list(suite.groups) + [name for name in (*table.group.names, "") if name not in suite.groups]
    names = list(dict.fromkeys(names))
    of_group = np.array([names.index(name) for name in table.group.names], np.int32)
    of_task = np.array([names.index(suite.only_group_of(name) or "") for name in table.task.names], np.int32)
    own = of_group[table.group.codes]
    codes = np.where(own == names.index(""), of_task[table.task.codes], own).astype(np.int32)
    used = np.unique(codes)
    return Categorical(np.searchsorted(used, codes).astype(np.int32), tuple(names[code] for code in used))


def _require(what: str, names: Sequence[str], allowed: Mapping[str, object] | Sequence[str]) -> None:
    if unknown := [name for name in names if name not in allowed and name]:
        raise UserError(
            f"the suite has no {what} {unknown}; it has {list(allowed)}: correct the rows or the suite file"
        )


_KEYS = {"kind", "name", "aggregation", "metric", "value"}
TRUSTED = {"trusted_f1", "trusted_precision", "trusted_recall", "trusted_accuracy"}


def load_references(paths: Sequence[Path]) -> list[PublishedFigure]:
    """The figures of several files, in order. Raises UserError naming file, figure and key."""
    return [figure for path in paths for figure in load_reference(path)]


def load_reference(path: Path) -> list[PublishedFigure]:
    """The figures of one file. Raises UserError naming file, figure and key."""
    content = load_mapping(path, {"system", "source", "figures"})
    if not isinstance(content["figures"], list):
        raise UserError(f"{path}: 'figures' must be a list of {{kind, name, aggregation, metric, value}}")
    figures = enumerate(content["figures"], 1)
    return [
        _figure(f"{path}, figure {number}", str(content["system"]), str(content["source"]), entry)
        for number, entry in figures
    ]


def _figure(where: str, system: str, source: str, entry: object) -> PublishedFigure:
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise UserError(f"{where}: its keys must be exactly {sorted(_KEYS)}")
    if entry["metric"] not in METRICS and entry["metric"] not in TRUSTED:
        raise UserError(
            f"{where}: unknown metric {entry['metric']!r}; choose from {sorted(METRICS)} or {sorted(TRUSTED)}"
        )
    if entry["kind"] not in get_args(SubsetKind) or entry["aggregation"] not in get_args(Aggregation):
        raise UserError(
            f"{where}: 'kind' is one of {get_args(SubsetKind)}, 'aggregation' one of {get_args(Aggregation)}"
        )
    if type(entry["value"]) is not float:
        raise UserError(f"{where}: 'value' must be a fraction such as 0.881, is {entry['value']!r}")
    return PublishedFigure(
        system, entry["kind"], str(entry["name"]), entry["aggregation"], entry["metric"], entry["value"], source
    )
