"""Parquet files of samples, with image bytes or paths, read without torch.

Images stay in the file until they are needed (StoredImage), or on disk below the file's folder. The files also open in
Hugging Face datasets, with images decoded, because their schema contains the feature metadata:

    datasets.load_dataset("parquet", data_files="emocaliber/data/emoji-sentiment.parquet")
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.samples import FileImage, Ratings, Sample, StoredImage
from emocaliber.data.parquet_parts import BUFFER, ROWS, Part, parts_of

Values = Mapping[str, Any]

REQUIRED = ("id", "image", "task", "candidates", "label", "split", "group", "cluster", "licence")
OPTIONAL = ("votes", "label_rule", "ratings", "second_votes", "rationale", "question")
REPEATING = {*REQUIRED, *OPTIONAL} - {"id", "image", "cluster", "rationale", "question"}
"""Columns whose values repeat in many rows."""


def read_samples(path: Path, splits: str | Sequence[str] | None = None) -> list[Sample]:
    """The rows of one split, of several, or all, in file order. `emoji:train` means that split of one task.

    Raises UserError as `iter_samples` does.
    """
    return list(iter_samples(path, splits))


def iter_samples(path: Path, splits: str | Sequence[str] | None = None, *, pictures: bool = False) -> Iterator[Sample]:
    """As `read_samples`, but as a stream; with `pictures`, samples include the image bytes, for one sequential pass.

    Raises UserError naming the file, row and key if the file is missing or not Parquet, a column is missing, an id
    repeats, a label or a vote is not among its row's candidates, or the one split named has no rows.
    """
    wanted = [splits] if isinstance(splits, str) else splits
    interner = Interner()
    try:
        if isinstance(splits, str):
            _refuse_no_row(path, splits)
        for part in parts_in(path, wanted, pictures=pictures):
            yield from samples_of(part, interner)
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from error


def parts_in(
    path: Path, splits: Sequence[str] | None = None, *, pictures: bool = False, coded: bool = False
) -> Iterator[Part]:
    """The rows of a file of samples, part by part. With `coded`, repeated texts are dictionary-encoded.

    Raises UserError as `iter_samples` does for a file that does not contain samples, and pyarrow's errors.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if missing := [name for name in REQUIRED if name not in names]:
            raise UserError(f"{path}: no column {missing[0]!r}; a file of samples needs {', '.join(REQUIRED)}")
        _check_ids(path, file)
        columns = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
        leaves = [file.schema.column(i).path for i in range(len(file.schema))]
    repeating = [leaf for leaf in leaves if leaf.partition(".")[0] in REPEATING and not leaf.endswith("count")]
    with pq.ParquetFile(
        path, buffer_size=BUFFER, pre_buffer=False, read_dictionary=repeating if coded else None
    ) as file:
        yield from parts_of(path, file, columns, splits, pictures=pictures)


def _refuse_no_row(path: Path, split: str) -> None:
    if not path.is_file():
        return
    with pq.ParquetFile(path) as file:
        present = _splits(file) if "split" in file.schema_arrow.names else {split}
    if split not in present:
        raise UserError(
            f"{path}: no row has split {split!r}; there are {', '.join(sorted(present)) or 'no rows at all'}"
            f"{did_you_mean(split, present)}"
        )


def _splits(file: pq.ParquetFile) -> set[str]:
    return set(pc.unique(file.read(columns=["split"])["split"]).to_pylist())


def _check_ids(path: Path, file: pq.ParquetFile) -> None:
    """Raises UserError for a repeated id. Ids are compared by hash first, 8 MB per million."""
    hashes = array("q")
    for batch in file.iter_batches(ROWS, columns=["id"], use_threads=False):
        hashes.extend(map(hash, batch.column(0).to_pylist()))
    if len(np.unique(np.frombuffer(hashes, np.int64))) == len(hashes):
        return
    seen: set[str] = set()
    for number, name in enumerate(file.read(columns=["id"])["id"].to_pylist()):
        if name in seen:
            raise UserError(f"{path}: row {number}: id {name!r} comes a second time; give every row its own")
        seen.add(name)


class Interner:
    """Shares equal candidates, votes and ratings between rows: a million rows have only some thousand distinct ones."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def candidates(self, names: Sequence[str]) -> tuple[str, ...]:
        key = tuple(names)
        return self._known.setdefault(key, key)  # type: ignore[no-any-return]

    def votes(self, labels: Sequence[str], counts: Sequence[int]) -> dict[str, int]:
        key = ("votes", *labels, *counts)
        if key not in self._known:
            self._known[key] = dict(zip(map(intern, labels), counts, strict=True))
        return self._known[key]  # type: ignore[no-any-return]

    def ratings(self, text: str | None) -> Ratings | None:
        if text is not None and text not in self._known:
            self._known[text] = msgspec.json.decode(text, type=Ratings)
        return None if text is None else self._known[text]


def lists_of(column: pa.ChunkedArray, make: Callable[..., Any]) -> list[Any]:
    """`make` applied to each row of a column of lists (for lists of structs, to the list of each field), called once
    for equal rows; None for null."""
    array = column.combine_chunks().cast(pa.list_(column.type.value_type))
    fields = array.values.flatten() if pa.types.is_struct(array.values.type) else [array.values]
    coded = [field.dictionary_encode() for field in fields]
    codes = [field.indices.fill_null(0).to_numpy() for field in coded]
    names = [field.dictionary.to_pylist() or [None] for field in coded]
    ends, valid = array.offsets.to_numpy().tolist(), array.is_valid().to_pylist()
    made, rows = dict[Any, Any](), list[Any]()
    for start, end, there in zip(ends, ends[1:], valid, strict=False):
        at = [part[start:end] for part in codes]
        key = tuple(part.tobytes() for part in at) if there else None
        if there and key not in made:
            made[key] = make(*([of[code] for code in part.tolist()] for of, part in zip(names, at, strict=True)))
        rows.append(made.get(key))
    return rows


def samples_of(part: Part, interner: Interner) -> Iterator[Sample]:
    """The samples of a part. Raises UserError for a label or a vote that is not among its row's candidates."""
    nested: dict[str, Callable[..., Any]] = {
        "candidates": interner.candidates, "votes": interner.votes, "second_votes": interner.votes,
    }  # fmt: skip
    columns: dict[str, list[Any]] = {}
    for name in part.table.column_names:
        if name in nested:
            columns[name] = lists_of(part.table[name], nested[name])
        elif name not in part.images:
            columns[name] = part.table[name].to_pylist()
    columns |= {name: list(images) for name, images in part.images.items()}
    names = list(columns)
    for number, row in zip(part.numbers.tolist(), zip(*columns.values(), strict=True), strict=True):
        yield _sample(part.path, number, dict(zip(names, row, strict=True)), interner)


def sample_at(part: Part, place: int, interner: Interner) -> Sample:
    """The sample at a position in a part. Raises as `samples_of`."""
    (values,) = part.table.slice(place, 1).to_pylist()
    values |= {name: images[place] for name, images in part.images.items()}
    values["candidates"] = tuple(values["candidates"])
    for name in {"votes", "second_votes"} & values.keys():
        if values[name] is not None:
            values[name] = {entry["label"]: entry["count"] for entry in values[name]}
    return _sample(part.path, int(part.numbers[place]), values, interner)


def _sample(path: Path, number: int, values: Values, interner: Interner) -> Sample:
    name, image, label, votes = values["id"], values["image"], values["label"], values.get("votes")
    candidates, cluster = values["candidates"], values["cluster"]
    if unknown := [each for each in (*([label] if label else ()), *(votes or ())) if each not in candidates]:
        raise UserError(f"{path}: row {number} ({name}): {unknown[0]!r} is not among its candidates")
    return Sample(
        id=name,
        image=image if isinstance(image, StoredImage | bytes) else FileImage(path.parent, image or ""),
        task=intern(values["task"]),
        candidates=candidates,
        label=label and intern(label),
        split=intern(values["split"]),
        group=intern(values["group"]),
        cluster=name if cluster == name else cluster,
        votes=votes,
        licence=intern(values["licence"]),
        ratings=interner.ratings(values.get("ratings")),
        label_rule=intern(values.get("label_rule") or "given"),
        second_votes=values.get("second_votes"),
        rationale=values.get("rationale"),
        question=values.get("question") or "",
    )
