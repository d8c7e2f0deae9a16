"""Corpora of audio, text and video in Parquet, such as IEMOCAP, as the arrays that a file of views holds.

Not a feature extractor. A row is an utterance:

| column | type | |
|---|---|---|
| id, split, label | string | split: train, calibrate or test |
| view.<name>, for example view.audio | list<float> | pooled features; null where the view is missing |
| votes | list<struct<label: string, count: int>> | optional: how many raters chose each label |
| cluster, group | string | optional: what is resampled together (the dialogue), the test condition (the session) |

    emocaliber baseline train ter --views iemocap.parquet --out DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError

SPLITS = ("train", "calibrate", "test")
NEEDED = ("id", "split", "label")
OPTIONAL = ("group", "cluster")
VIEW = "view."

Columns = Mapping[str, list[Any]]


def read_corpus(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The file's columns under the keys of an .npz of views. Raises UserError naming the column and the row.

    A view that is null in every row of a split is left out of that split.
    """
    columns = _columns(path)
    views = [name for name in columns if name.startswith(VIEW)]
    content: dict[str, npt.NDArray[Any]] = {}
    labels = _labels(columns)
    if "votes" in columns:
        content["classes"] = np.array(labels)
    for split in sorted(set(columns["split"])):
        rows = [row for row, own in enumerate(columns["split"]) if own == split]
        for name in {"id", "label", *OPTIONAL} & set(columns):
            content[f"{name}_{split}"] = np.array([columns[name][row] for row in rows])
        for name in views:
            if any(columns[name][row] is not None for row in rows):
                content[f"{name.removeprefix(VIEW)}_{split}"] = _matrix(name, columns[name], rows)
        if "votes" in columns:
            content[f"votes_{split}"] = np.array([_counts(columns["votes"][row], labels) for row in rows])
    return content


def _columns(path: Path) -> Columns:
    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowException as error:
        raise UserError(f"not a readable Parquet file ({error})") from error
    columns: Columns = {name: table.column(name).to_pylist() for name in table.column_names}
    if missing := [name for name in NEEDED if name not in columns]:
        raise UserError(f"no column {missing[0]!r}; there are {', '.join(columns)}")
    if not any(name.startswith(VIEW) for name in columns):
        raise UserError(f"no column '{VIEW}<name>', a list of numbers; there are {', '.join(columns)}")
    for name in (*NEEDED, *OPTIONAL):
        if name in columns and None in columns[name]:
            raise UserError(f"column {name!r}, row {columns[name].index(None)}: empty; give one for every row")
    for row, split in enumerate(columns["split"]):
        if split not in SPLITS:
            raise UserError(f"column 'split', row {row}: {split!r}; write one of {', '.join(SPLITS)}")
    return columns


def _labels(columns: Columns) -> list[str]:
    try:
        voted = {vote["label"] for votes in columns.get("votes", []) for vote in votes or () if vote["count"]}
    except (TypeError, KeyError):
        raise UserError("column 'votes' must hold a list of {label, count}, or null, in every row") from None
    return sorted(set(columns["label"]) | voted)


def _counts(votes: list[dict[str, Any]] | None, labels: list[str]) -> list[int]:
    counted = {vote["label"]: vote["count"] for vote in votes or ()}
    return [counted.get(label, 0) for label in labels]


def _matrix(name: str, column: list[Any], rows: list[int]) -> npt.NDArray[np.float32]:
    """[n, d] of these rows, those that are null as rows of NaN; at least one is not."""
    width = next(len(column[row]) for row in rows if column[row] is not None)
    for row in rows:
        if column[row] is not None and len(column[row]) != width:
            raise UserError(f"column {name!r}, row {row}: {len(column[row])} numbers, others have {width}")
    try:
        return np.array([[np.nan] * width if column[row] is None else column[row] for row in rows], np.float32)
    except (TypeError, ValueError):
        raise UserError(f"column {name!r} must hold a list of numbers, or null, in every row") from None
