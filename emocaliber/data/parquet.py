"""Samples in a Parquet file, image bytes or paths included: how data is kept, and read without torch.

Not an image decoder: bytes are passed on as they are, a path is one under the file's own folder. The same file opens
in Hugging Face datasets, pictures decoded, because its schema carries their feature description:

    datasets.load_dataset("parquet", data_files="emocaliber/data/emoji-sentiment.parquet")
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError
from emocaliber.core.samples import FileImage, Ratings, Sample

Row = Mapping[str, Any]

REQUIRED = ("id", "image", "task", "candidates", "label", "split", "group", "cluster", "licence")
OPTIONAL = ("votes", "label_rule", "ratings")


def read_samples(path: Path, split: str | None = None) -> list[Sample]:
    """The rows of one split, or all of them, in the file's order.

    Raises UserError naming the file, the row and the key where the file is missing or not Parquet, a column is missing,
    an id comes twice, a label or a vote is not among its row's candidates, or the split has no row.
    """
    table = _read_table(path)
    if missing := [name for name in REQUIRED if name not in table.column_names]:
        raise UserError(f"{path}: no column {missing[0]!r}; a file of samples needs {', '.join(REQUIRED)}")
    rows = table.select([name for name in (*REQUIRED, *OPTIONAL) if name in table.column_names]).to_pylist()
    splits = {row["split"] for row in rows}
    if split is not None and split not in splits:
        raise UserError(
            f"{path}: no row has split {split!r}; there are {', '.join(sorted(splits)) or 'no rows at all'}"
        )
    _check(path, rows)
    return [_sample(row, path.parent) for row in rows if split in (None, row["split"])]


def sample_row(sample: Sample, image: bytes | str) -> Row:
    """The row of SCHEMA that a sample makes, with its image's bytes or its path under the file's folder."""
    votes = _listed(sample.votes)
    ratings = None if sample.ratings is None else msgspec.json.encode(sample.ratings).decode()
    held = {"bytes": image, "path": None} if isinstance(image, bytes) else {"bytes": None, "path": image}
    plain = {name: getattr(sample, name) for name in REQUIRED if name not in ("image", "candidates")}
    return plain | {"image": held, "candidates": list(sample.candidates), "votes": votes,
                    "label_rule": sample.label_rule, "ratings": ratings}  # fmt: skip


def _schema() -> pa.Schema:
    """REQUIRED and OPTIONAL columns, with the description that Hugging Face datasets reads."""
    text, value = pa.string(), {"dtype": "string", "_type": "Value"}
    types = dict.fromkeys((*REQUIRED, *OPTIONAL), text) | {
        "image": pa.struct([("bytes", pa.binary()), ("path", text)]),
        "candidates": pa.list_(text),
        "votes": pa.list_(pa.struct([("label", text), ("count", pa.int32())])),
    }
    features: dict[str, object] = dict.fromkeys(types, value) | {
        "image": {"_type": "Image"},
        "candidates": {"feature": value, "_type": "List"},
        "votes": {"feature": {"label": value, "count": value | {"dtype": "int32"}}, "_type": "List"},
    }
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(list(types.items()), metadata=described)


SCHEMA = _schema()


def write_rows(path: Path, rows: Iterable[Row], extra: Mapping[str, str]) -> None:
    """Write rows with REQUIRED columns, `votes` (a count per label, or None) and `extra` columns, given as name: dtype.

    `image` is a mapping of `bytes` and `path`. Needs the package `datasets` (extra `train`).
    """
    from datasets import Features, Image, List, Value

    columns = {name: Value("string") for name in REQUIRED} | {
        "image": Image(),
        "candidates": List(Value("string")),
        "votes": List({"label": Value("string"), "count": Value("int32")}),
    }
    schema = Features(columns | {name: Value(dtype) for name, dtype in extra.items()}).arrow_schema
    table = pa.Table.from_pylist([{**row, "votes": _listed(row.get("votes"))} for row in rows], schema=schema)
    pq.write_table(table, path, compression="zstd", compression_level=12)


def _listed(votes: Mapping[str, int] | None) -> list[dict[str, str | int]] | None:
    """Arrow has no open-ended mapping that every reader knows: a list of pairs."""
    return None if votes is None else [{"label": label, "count": count} for label, count in votes.items()]


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        return pq.ParquetFile(path).read()
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from error


def _check(path: Path, rows: list[Row]) -> None:
    seen: set[str] = set()
    for number, row in enumerate(rows):
        if row["id"] in seen:
            raise UserError(f"{path}: row {number}: id {row['id']!r} comes a second time; give every row its own")
        seen.add(row["id"])
        named = [row["label"]] if row["label"] is not None else []
        named += [vote["label"] for vote in row.get("votes") or ()]
        if unknown := [label for label in named if label not in row["candidates"]]:
            raise UserError(f"{path}: row {number} ({row['id']}): {unknown[0]!r} is not among its candidates")


def _sample(row: Row, folder: Path) -> Sample:
    votes, ratings, image = row.get("votes"), row.get("ratings"), row["image"]
    return Sample(
        id=row["id"],
        image=FileImage(folder, image["path"]) if image["bytes"] is None else image["bytes"],
        task=row["task"],
        candidates=tuple(row["candidates"]),
        label=row["label"],
        split=row["split"],
        group=row["group"],
        cluster=row["cluster"],
        votes=None if votes is None else {vote["label"]: vote["count"] for vote in votes},
        licence=row["licence"],
        ratings=None if ratings is None else msgspec.json.decode(ratings, type=Ratings),
        label_rule=row.get("label_rule") or "given",
    )
