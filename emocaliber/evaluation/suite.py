"""Suite: which tasks, taxonomies and groups make a benchmark, from a YAML file.

Not data: it holds no sample. The file's keys:

    name: tiny
    tasks:
      kaomoji: {labels: [happy, sad], rows: 1081}     labels: null takes those of the rows; rows, how many, is
      FI-8: {taxonomy: mikels-8}                      optional; a shipped taxonomy stands for its labels
    groups:
      trained styles: [kaomoji]                       the tasks that have rows in the group
    layout: vecbench                                  optional: what `emocaliber data` reads it as,
    splits: [train, test]                             the splits that it has (default: test), whose `rows` are of
    source: https://...                               the split test, and where it is to be had

    emocaliber score predictions.jsonl --suite eval/suites/tiny.yaml
    emocaliber data check DIR --suite eval/suites/emoset.yaml --out out/check
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.taxonomy import TAXONOMIES
from emocaliber.core.yaml_files import read_mapping


@dataclass(frozen=True)
class Task:
    """A task's labels, in order (empty: those that its rows name), and its number of test rows (None: not said)."""

    labels: tuple[str, ...]
    rows: int | None = None


@dataclass(frozen=True)
class Suite:
    """Tasks and groups by name, in the order in which they are printed."""

    name: str
    tasks: dict[str, Task]
    groups: dict[str, tuple[str, ...]]
    layout: str | None = None
    splits: tuple[str, ...] = ("test",)
    source: str = ""

    def only_group_of(self, task: str) -> str | None:
        """The group of a task's rows where only one lists the task: what a row without a group belongs to."""
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
    if not (isinstance(splits, list) and splits and all(isinstance(one, str) for one in splits)):
        raise UserError(f"{path}: 'splits' must be a list such as [train, test], is {splits!r}")
    source = str(content.get("source", ""))
    return Suite(str(content["name"]), tasks, groups, layout and str(layout), tuple(splits), source)


def load_mapping(path: Path, keys: set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """A YAML file that is one mapping with exactly these keys, and any of the optional ones. Raises UserError."""
    content = read_mapping(path)
    if not keys <= set(content) <= keys | optional:
        raise UserError(f"{path}: its keys must be exactly {sorted(keys)}; found {sorted(map(str, content))}")
    return content


def _mapping(path: Path, key: str, content: dict[str, Any]) -> dict[Any, Any]:
    value = content[key]
    if not isinstance(value, dict):
        raise UserError(f"{path}: {key!r} must be a mapping")
    return value


def _task(path: Path, name: str, value: object) -> Task:
    if not isinstance(value, dict) or set(value) - {"rows"} not in ({"labels"}, {"taxonomy"}):
        raise UserError(f"{path}: task {name!r} must have 'labels' or 'taxonomy', may have 'rows', and nothing else")
    rows, taxonomy = value.get("rows"), value.get("taxonomy")
    if taxonomy is not None and taxonomy not in TAXONOMIES:
        raise UserError(f"{path}: taxonomy {taxonomy!r} of task {name!r} is none of {', '.join(TAXONOMIES)}")
    labels = list(TAXONOMIES[taxonomy].labels) if taxonomy is not None else value["labels"]
    if labels is None:
        labels = []
    elif not isinstance(labels, list) or len(set(map(str, labels))) < max(2, len(labels)):
        raise UserError(f"{path}: the labels of task {name!r} must be null or a list of at least two different names")
    if rows is not None and type(rows) is not int:
        raise UserError(f"{path}: 'rows' of task {name!r} must be a whole number, is {rows!r}")
    return Task(tuple(map(str, labels)), rows)
