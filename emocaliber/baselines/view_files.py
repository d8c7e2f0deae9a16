"""Files of views: `.npz`, `.mat`, or Parquet for corpora of audio, text and video, with labels and rater votes.

Not a feature extractor (see features). In an .npz, `<view>_<split>` [n, d] is an array of features, for the splits
`train`, `test` and, where there is one, `calibrate`; beside them `label_<split>` [n], and optionally `votes_<split>`
[n, K], `id_<split>`, `group_<split>`, `cluster_<split>` [n], `classes` [K] (the order of the votes' columns; by default
the sorted labels) and `task`. A view missing from a row is a row of NaN.

Labels may be texts, bytes or numbers (1 and 1.0 are one label), in a column or a row; a missing one is refused. Where
there are `classes`, numbers are places among them, from 0 or, where all of 1 to K occur, from 1. `gt_<split>` or
`y_<split>` is read as `label_<split>`. A .mat file (MATLAB up to v7) has the same keys. For Parquet see view_corpora.

    emocaliber baseline train tmc --views FILE.npz --out DIR
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emocaliber.baselines.view_corpora import SPLITS, read_corpus
from emocaliber.baselines.views import count_rows
from emocaliber.core.errors import UserError
from emocaliber.data.labels import by_fold, class_number, fold, is_missing, is_no_label, one_spelling

Strings = npt.NDArray[np.str_]
PER_ROW = ("label", "votes", "id", "group", "cluster")
ALIASES = dict.fromkeys(("gt", "y", "Y", "labels", "target"), "label")
"""As TMC's files and scikit-learn's examples have it."""


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
        """The rows with these indices."""
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
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        kinds = {".parquet": read_corpus, ".mat": _mat}
        return _view_set(kinds.get(path.suffix.casefold(), _npz)(path), path.stem)
    except UserError as problem:
        raise UserError(f"{path}: {problem}") from None


def write_views(path: Path, views_read: ViewSet) -> None:
    """Write, atomically, an .npz that `read_views` reads."""
    content: dict[str, npt.NDArray[Any]] = {"classes": np.array(views_read.classes), "task": np.array(views_read.task)}
    for split, rows in views_read.splits.items():
        content |= {f"{name}_{split}": values for name, values in rows.views.items()}
        content |= {f"label_{split}": rows.labels, f"id_{split}": rows.ids, f"group_{split}": rows.groups}
        content[f"cluster_{split}"] = rows.clusters
        if rows.votes is not None:
            content[f"votes_{split}"] = rows.votes
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **content)
    partial.replace(path)


def _npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: _plain(name, file) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as problem:
        raise UserError(f"not a readable .npz file of plain arrays ({problem})") from None


def _plain(name: str, file: Any) -> npt.NDArray[Any]:
    try:
        values: npt.NDArray[Any] = file[name]
    except ValueError as problem:
        if "allow_pickle" not in str(problem):
            raise
        raise UserError(
            f"key {name!r} holds Python objects, which are not read from files of others; save it as plain texts or"
            f" numbers: {name}.astype(str)"
        ) from None
    return values


def _mat(path: Path) -> dict[str, npt.NDArray[Any]]:
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except NotImplementedError:
        raise UserError("a MATLAB file of version 7.3; save it with -v7, or as .npz") from None
    except (OSError, ValueError, TypeError) as problem:
        raise UserError(f"not a readable .mat file ({problem})") from None
    return {name: _from_matlab(name, values) for name, values in content.items() if not name.startswith("__")}


def _from_matlab(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """MATLAB has no vectors and wraps each text of a cell array in an array: one value a row, but for features."""
    if values.dtype.kind == "O":
        values = np.array([_cell(cell) for cell in values.ravel()])
    if values.dtype.kind == "U":
        values = np.char.rstrip(values)
    per_row = name.rpartition("_")[0] in (*PER_ROW, *ALIASES) and not name.startswith("votes_")
    return values.ravel() if name == "classes" or per_row else values.squeeze() if name == "task" else values


def _cell(cell: Any) -> str:
    """The content of a cell, however deeply nested; empty if there is none."""
    inside = np.asarray(cell)
    if not inside.size:
        return ""
    return _cell(inside.ravel()[0]) if inside.dtype.kind == "O" and inside.size == 1 else str(inside.squeeze())


def _labels(key: str, values: npt.NDArray[Any]) -> Strings:
    """Labels as text: bytes decoded, whole numbers without a point. Raises UserError for a missing one."""
    texts = []
    for row, written in enumerate(values.tolist()):
        try:
            value = written.decode() if isinstance(written, bytes) else written
        except UnicodeDecodeError:
            raise UserError(
                f"key {key!r}, row {row}: {written!r} is not UTF-8; decode the labels before you save them"
            ) from None
        missing = is_missing(value) if key == "classes" else is_no_label(value)
        if missing or (isinstance(value, float) and not value.is_integer()):
            raise UserError(f"key {key!r}, row {row}: {value!r} is no label; leave the row out, or give its label")
        texts.append(str(int(value)) if isinstance(value, float) else str(value).strip())
    if {"-1", "0"} <= set(texts):
        row = texts.index("-1")
        raise UserError(f"key {key!r}, row {row}: -1 is no class beside 0; leave the row out, or give its label")
    return np.array(texts, dtype=str)


def _view_set(content: Mapping[str, npt.NDArray[Any]], task: str) -> ViewSet:
    splits = _by_split(content)
    _alike([part["label"] for part in splits.values()])
    views_read = np.concatenate([part["label"] for part in splits.values()])
    declared = content.get("classes")
    classes = _classes(views_read) if declared is None else tuple(_labels("classes", declared).tolist())
    if len({fold(name) for name in classes}) < len(classes):
        raise UserError(f"key 'classes' names a label twice: {', '.join(classes)}")
    if len(classes) < 2:
        raise UserError(f"all labels are {classes[0]!r}; two or more are needed to tell them apart")
    if declared is not None and (names := _numbered(views_read, classes)):
        for part in splits.values():
            part["label"] = np.array([names[label] for label in part["label"].tolist()])
        views_read = np.concatenate([part["label"] for part in splits.values()])
    spelt = by_fold(classes)
    if unknown := sorted({name for name in views_read.tolist() if fold(name) not in spelt}):
        raise UserError(f"label {unknown[0]!r} is not in 'classes'")
    for part in splits.values():
        part["label"] = np.array([spelt[fold(name)] for name in part["label"].tolist()])
    task = str(_texts(content["task"].reshape(1))[0]) if "task" in content else task
    rows = {name: _rows(part, name, task, len(classes)) for name, part in splits.items()}
    _refuse_unlearnt(rows)
    return ViewSet(task, classes, rows)


def _alike(labels: Sequence[Strings]) -> None:
    """Raises UserError if labels are truth values in one split and numbers in another, which would give four labels."""
    truths = [set(of_split.tolist()) <= {"True", "False"} for of_split in labels if len(of_split)]
    if any(truths) and not all(truths):
        raise UserError("labels are True and False in one split, and not in another; save all as 0 and 1")


def _numbered(labels: Strings, classes: tuple[str, ...]) -> dict[str, str] | None:
    """The class that each number means, where all labels are numbers and no class is: they count from 0, or from 1
    where every number from 1 to K occurs. None where labels are names. Raises UserError where it is not clear."""
    if not all(label.isdecimal() for label in labels.tolist()) or any(class_number(name) for name in classes):
        return None
    numbers = {int(label) for label in labels.tolist()}
    if max(numbers) >= len(classes) and numbers != set(range(1, len(classes) + 1)):
        raise UserError(
            f"labels are numbers up to {max(numbers)}, and 'classes' names {len(classes)}; save their names"
        )
    first = int(max(numbers) == len(classes))
    return {str(first + place): name for place, name in enumerate(classes)}


def _classes(labels: Strings) -> tuple[str, ...]:
    """The labels in order, each in its most frequent spelling: numbers by size, texts alphabetically."""
    names = set(labels.tolist())
    if all(class_number(name) is not None for name in names):
        truths = {"true", "false"} & {name.casefold() for name in names}
        return tuple(sorted(names) if truths else sorted(names, key=float))
    return one_spelling(Counter(labels.tolist()))[0]


def _texts(values: npt.NDArray[Any]) -> Strings:
    """Values as text, bytes decoded."""
    return np.array(
        [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.tolist()], dtype=str
    )


def _by_split(content: Mapping[str, npt.NDArray[Any]]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """The arrays of each split by name, labels among them, all that hold a value a row in the shape for it."""
    splits: dict[str, dict[str, npt.NDArray[Any]]] = {"train": {}, "test": {}}
    for key in [key for key in content if key not in {"classes", "task"}]:
        name, _, split = key.rpartition("_")
        if not name or split not in SPLITS:
            raise UserError(f"key {key!r} is not understood; write <view>_<split>, split one of {', '.join(SPLITS)}")
        splits.setdefault(split, {})[ALIASES.get(name, name)] = content[key]
    for split, part in splits.items():
        if "label" not in part:
            raise UserError(f"the key 'label_{split}' is missing")
        for name in [name for name in PER_ROW if name in part]:
            if name != "votes" and part[name].ndim == 2 and 1 in part[name].shape:
                part[name] = part[name].ravel()  # a column or a row, as MATLAB has it
            shape, wanted = part[name].shape, "[rows, labels]" if name == "votes" else "[rows]"
            if len(shape) != 1 + wanted.count(","):
                raise UserError(f"key '{name}_{split}' has shape {shape}; it must have {wanted}")
        for name in (name for name in ("label", "id", "group", "cluster") if name in part):
            part[name] = _labels(f"{name}_{split}", part[name]) if name == "label" else _texts(part[name])
    return splits


def _rows(part: Mapping[str, npt.NDArray[Any]], split: str, task: str, labels: int) -> Rows:
    views = {name: values for name, values in part.items() if name not in PER_ROW}
    for name, values in views.items():
        if values.dtype.kind not in "fiu":
            raise UserError(f"key '{name}_{split}' holds {values.dtype}, not numbers")
        largest = np.abs(values, where=np.isfinite(values), out=np.zeros(values.shape)).max(initial=0)
        if largest > np.finfo(np.float32).max:
            raise UserError(f"key '{name}_{split}' holds {largest:g}, too large for 32-bit floats; scale the features")
    try:
        rows = count_rows(views)
    except UserError as problem:
        raise UserError(f"split {split!r}: {problem}") from None
    if not rows:
        raise UserError(f"split {split!r} has no row")
    for name in set(PER_ROW) & set(part):
        if len(part[name]) != rows:
            raise UserError(f"key '{name}_{split}' has {len(part[name])} rows, the views have {rows}")
    votes = part.get("votes")
    if votes is not None:
        _check_votes(votes, f"votes_{split}", labels)
    ids = part.get("id", np.array([f"{task}/{split}/{row}" for row in range(rows)])).astype(str)
    names, times = np.unique(ids, return_counts=True)
    if (times > 1).any():
        raise UserError(f"key 'id_{split}' names {str(names[times.argmax()])!r} twice; ids tell rows apart")
    return Rows(
        {name: values.astype(np.float32) for name, values in views.items()},
        part["label"].astype(str),
        ids,
        part.get("group", np.full(rows, "")).astype(str),
        part.get("cluster", ids).astype(str),
        None if votes is None else votes.astype(np.float64),
    )


def _check_votes(votes: npt.NDArray[Any], key: str, labels: int) -> None:
    if votes.shape[1] != labels or votes.dtype.kind not in "fiu" or not (votes >= 0).all():
        raise UserError(f"key {key!r} must hold counts for {labels} labels a row; give 'classes' to name them")
    if (votes != np.round(votes)).any():
        raise UserError(f"key {key!r} holds shares; give how many raters chose each label")


def _refuse_unlearnt(splits: Mapping[str, Rows]) -> None:
    """Raises UserError for a view that the training rows lack, or have in another width."""
    learnt = splits["train"].views
    for split, rows in splits.items():
        for name, values in rows.views.items():
            if name not in learnt:
                raise UserError(f"key '{name}_{split}' has no '{name}_train' to learn from; give it, or leave it out")
            if values.shape[1] != learnt[name].shape[1]:
                width = learnt[name].shape[1]
                raise UserError(f"key '{name}_{split}' has {values.shape[1]} numbers a row, '{name}_train' has {width}")
