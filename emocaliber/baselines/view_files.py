"""Files of views: `.npz`, or Parquet for corpora of audio, text and video, with labels and rater votes.

Not a feature extractor (see features). In an .npz, `<view>_<split>` [n, d] is an array of features, for the splits
`train`, `test` and, where there is one, `calibrate`; beside them `label_<split>` [n], and optionally `votes_<split>`
[n, K], `id_<split>`, `group_<split>`, `cluster_<split>` [n], `classes` [K] (the order of the votes' columns; by default
the sorted labels) and `task`. A view missing from a row is a row of NaN.

Parquet (a layout for IEMOCAP and its like), a row an utterance:

| column | type | |
|---|---|---|
| id, split, label | string | split: train, calibrate or test |
| view.<name>, for example view.audio | list<float> | pooled features; null where the view is missing |
| votes | list<struct<label: string, count: int>> | optional: how many raters chose each label |
| cluster, group | string | optional: what is resampled together (the dialogue), the test condition (the session) |

    emocaliber baseline tmc --views FILE.npz --out DIR
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.baselines.views import count_rows
from emocaliber.errors import UserError

Strings = npt.NDArray[np.str_]
PER_ROW = ("label", "votes", "id", "group", "cluster")
SPLITS = ("train", "calibrate", "test")


@dataclass(frozen=True)
class Rows:
    """One split: `views` [n, d] each, `labels`, `ids`, `groups`, `clusters` [n]; `votes` [n, K] or None."""

    views: dict[str, npt.NDArray[np.float32]]
    labels: Strings
    ids: Strings
    groups: Strings
    clusters: Strings
    votes: npt.NDArray[np.float64] | None

    def take(self, chosen: npt.NDArray[np.intp]) -> Rows:
        """The rows with these numbers."""
        return Rows(
            {name: values[chosen] for name, values in self.views.items()},
            self.labels[chosen],
            self.ids[chosen],
            self.groups[chosen],
            self.clusters[chosen],
            None if self.votes is None else self.votes[chosen],
        )


@dataclass(frozen=True)
class ViewSet:
    """One task: its K labels in order, and its splits; `train` and `test` are there."""

    task: str
    classes: tuple[str, ...]
    splits: dict[str, Rows]


def read_views(path: Path) -> ViewSet:
    """Read a .npz or .parquet file. Raises UserError naming the file and the key, and how to mend it."""
    content = _parquet(path) if path.suffix == ".parquet" else _npz(path)
    try:
        return _view_set(content, path.stem)
    except UserError as problem:
        raise UserError(f"{path}: {problem}") from None


def write_views(path: Path, found: ViewSet) -> None:
    """Write a .npz that `read_views` reads."""
    content: dict[str, npt.NDArray[Any]] = {"classes": np.array(found.classes), "task": np.array(found.task)}
    for split, rows in found.splits.items():
        content |= {f"{name}_{split}": values for name, values in rows.views.items()}
        content |= {f"label_{split}": rows.labels, f"id_{split}": rows.ids, f"group_{split}": rows.groups}
        content[f"cluster_{split}"] = rows.clusters
        if rows.votes is not None:
            content[f"votes_{split}"] = rows.votes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **content)


def _npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as problem:
        raise UserError(f"{path}: not a readable .npz file of plain arrays ({problem})") from None


def _view_set(content: Mapping[str, npt.NDArray[Any]], task: str) -> ViewSet:
    splits: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for key, values in content.items():
        name, _, split = key.rpartition("_")
        if key not in {"classes", "task"}:
            if not name or split not in SPLITS:
                raise UserError(
                    f"key {key!r} is not understood; write <view>_<split>, split one of {', '.join(SPLITS)}"
                )
            splits.setdefault(split, {})[name] = values
    for split in {"train", "test"} | set(splits):
        if "label" not in splits.get(split, {}):
            raise UserError(f"the key 'label_{split}' is missing")
    declared = content.get("classes")
    found = np.concatenate([part["label"] for part in splits.values()])
    classes = tuple(map(str, (np.unique(found) if declared is None else declared).tolist()))
    if unknown := sorted(set(map(str, found.tolist())) - set(classes)):
        raise UserError(f"label {unknown[0]!r} is not in 'classes'")
    task = str(content["task"]) if "task" in content else task
    return ViewSet(task, classes, {name: _rows(part, name, task, len(classes)) for name, part in splits.items()})


def _rows(part: Mapping[str, npt.NDArray[Any]], split: str, task: str, labels: int) -> Rows:
    views = {name: values for name, values in part.items() if name not in PER_ROW}
    for name, values in views.items():
        if values.dtype.kind not in "fiu":
            raise UserError(f"key '{name}_{split}' holds {values.dtype}, not numbers")
    rows = count_rows(views)
    for name in set(PER_ROW) & set(part):
        if len(part[name]) != rows:
            raise UserError(f"key '{name}_{split}' has {len(part[name])} rows, the views have {rows}")
    votes = part.get("votes")
    if votes is not None and (votes.ndim != 2 or votes.shape[1] != labels or (votes < 0).any()):
        raise UserError(f"key 'votes_{split}' must hold counts for {labels} labels a row; give 'classes' to name them")
    ids = part.get("id", np.array([f"{task}/{split}/{row}" for row in range(rows)])).astype(str)
    return Rows(
        {name: values.astype(np.float32) for name, values in views.items()},
        part["label"].astype(str),
        ids,
        part.get("group", np.full(rows, "")).astype(str),
        part.get("cluster", ids).astype(str),
        None if votes is None else votes.astype(np.float64),
    )


def _parquet(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The file's columns under the keys of an .npz."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from error
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    views = [name for name in columns if name.startswith("view.")]
    if missing := [name for name in ("id", "split", "label") if name not in columns]:
        raise UserError(f"{path}: no column {missing[0]!r}")
    if not views:
        raise UserError(f"{path}: no column 'view.<name>', a list of numbers")
    content: dict[str, npt.NDArray[Any]] = {}
    classes = _classes(columns)
    if "votes" in columns:
        content["classes"] = np.array(classes)
    for split in sorted(set(columns["split"])):
        rows = [row for row, own in enumerate(columns["split"]) if own == split]
        for name in {"id", "label", "group", "cluster"} & set(columns):
            content[f"{name}_{split}"] = np.array([columns[name][row] for row in rows])
        for name in views:
            content[f"{name.removeprefix('view.')}_{split}"] = _matrix(path, name, [columns[name][row] for row in rows])
        if "votes" in columns:
            counted = [{one["label"]: one["count"] for one in columns["votes"][row] or ()} for row in rows]
            content[f"votes_{split}"] = np.array([[votes.get(label, 0) for label in classes] for votes in counted])
    return content


def _classes(columns: Mapping[str, list[Any]]) -> list[str]:
    voted = {one["label"] for votes in columns.get("votes", []) for one in votes or ()}
    return sorted(set(columns["label"]) | voted)


def _matrix(path: Path, name: str, rows: list[list[float] | None]) -> npt.NDArray[np.float32]:
    """[n, d], rows of NaN for null. Raises UserError where widths differ or every row is null."""
    widths = {len(row) for row in rows if row is not None}
    if len(widths) != 1:
        raise UserError(
            f"{path}: column {name!r} has rows of {sorted(widths)} numbers; give all rows of a split the same"
        )
    width = widths.pop()
    return np.array([[np.nan] * width if row is None else row for row in rows], np.float32)
