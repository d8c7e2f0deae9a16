"""Samples in a Parquet file, image bytes or paths included: how data is kept, and read without torch.

Pictures stay in the file until they are needed (StoredImage), or on the disk under the file's own folder. The same file
opens in Hugging Face datasets, pictures decoded, because its schema carries their feature description:

    datasets.load_dataset("parquet", data_files="emocaliber/data/emoji-sentiment.parquet")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.samples import FileImage, ImageSource, Ratings, Sample, StoredImage

Values = Mapping[str, Any]
ROWS, ROWS_WITH_PICTURES = 16_384, 256
"""Rows of a row group in memory at a time, without and with their pictures' bytes."""
BUFFER = 1 << 20  # bytes of a column that are read at a time, lest all of a row group's pictures are

REQUIRED = ("id", "image", "task", "candidates", "label", "split", "group", "cluster", "licence")
OPTIONAL = ("votes", "label_rule", "ratings", "second_votes")


def read_samples(path: Path, splits: str | Sequence[str] | None = None) -> list[Sample]:
    """The rows of one split, of several, or all of them, in the file's order. `emoji:train` is a split of one task.

    Raises UserError as `iter_samples` does.
    """
    return list(iter_samples(path, splits))


def iter_samples(path: Path, splits: str | Sequence[str] | None = None, *, pictures: bool = False) -> Iterator[Sample]:
    """The same, one at a time; with `pictures` each brings its encoded bytes, for one pass in order.

    Raises UserError naming the file, the row and the key where the file is missing or not Parquet, a column is missing,
    an id comes twice, a label or a vote is not among its row's candidates, or the one split named has no row.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in REQUIRED if name not in names]:
                raise UserError(f"{path}: no column {missing[0]!r}; a file of samples needs {', '.join(REQUIRED)}")
            _check_ids(path, file)
            wanted = [splits] if isinstance(splits, str) else splits
            if isinstance(splits, str) and splits not in (present := _splits(file)):
                raise UserError(
                    f"{path}: no row has split {splits!r}; there are {', '.join(sorted(present)) or 'no rows at all'}"
                    f"{did_you_mean(splits, present)}"
                )
            columns = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
            alike = _Alike()
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            for part in _parts(path, file, columns, wanted, pictures=pictures):
                yield from _samples(path, part, alike)
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from error


def stored_rows(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    pictures: bool = False,
    opened: pa.NativeFile | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row of any Parquet file with its number from 0; pictures are StoredImages, none of their bytes is read.

    A picture is a column of binary values, or of structs with `bytes`, as Hugging Face datasets writes them; where the
    bytes are null it is its path. With `pictures` each row brings its own bytes, for one pass in order, in which no
    more than a few hundred are in memory however large a row group is. `opened` is the file where it is not on this
    disk. Raises pyarrow's errors.
    """
    with pq.ParquetFile(path if opened is None else opened, buffer_size=BUFFER, pre_buffer=False) as file:
        for part in _parts(path, file, columns, None, pictures=pictures):
            for row, (number, values) in enumerate(zip(part.numbers, part.table.to_pylist(), strict=True)):
                yield number, values | {name: images[row] for name, images in part.images.items()}


@dataclass(frozen=True)
class _Part:
    """The chosen rows of a part of a row group: their numbers in the file, all but their pictures, and these or where
    they are."""

    numbers: list[int]
    table: pa.Table
    images: Mapping[str, Sequence[ImageSource | str | None]]


def _parts(
    path: Path, file: pq.ParquetFile, columns: Sequence[str] | None, splits: Sequence[str] | None, *, pictures: bool
) -> Iterator[_Part]:
    fields = [field for field in file.schema_arrow if columns is None or field.name in columns]
    bytes_in = {field.name: leaf for field in fields if (leaf := _bytes_leaf(field))}
    light = [leaf for field in fields for leaf in _light_leaves(field, bytes_in)]
    leaves = [field.name for field in fields] if pictures else light
    before = 0
    for group in range(file.num_row_groups):
        start, stored = 0, dict[str, npt.NDArray[np.bool_]]()
        for table in _tables(file, group, leaves, ROWS_WITH_PICTURES if pictures else ROWS):
            chosen = _chosen(table, splits)
            if len(chosen):
                rows = table if len(chosen) == len(table) else table.take(pa.array(chosen))
                images: dict[str, Sequence[ImageSource | str | None]]
                if pictures:
                    images = {name: _bytes_of(rows[name]) for name in bytes_in}
                else:
                    stored = stored or {name: _is_stored(file, group, leaf) for name, leaf in bytes_in.items()}
                    images = {
                        name: _images(path, group, leaf, rows, chosen + start, stored[name])
                        for name, leaf in bytes_in.items()
                    }
                light_columns = [name for name in rows.column_names if name not in bytes_in] if pictures else None
                numbers = (chosen + start + before).tolist()
                yield _Part(numbers, rows if light_columns is None else rows.select(light_columns), images)
            start += len(table)
        before += start


def _tables(file: pq.ParquetFile, group: int, leaves: Sequence[str], size: int) -> Iterator[pa.Table]:
    """The columns of a row group, so many rows at a time."""
    if not leaves:
        yield file.read_row_group(group, columns=[])
        return
    for batch in file.iter_batches(size, row_groups=[group], columns=leaves, use_threads=False):  # threads read it all
        yield pa.Table.from_batches([batch])


def _bytes_of(column: pa.ChunkedArray) -> list[bytes | str | None]:
    """The bytes of each row's picture, or its path."""
    return [
        value if value is None or isinstance(value, bytes) else value.get("path") if value["bytes"] is None
        else value["bytes"]
        for value in column.to_pylist()
    ]  # fmt: skip


def _images(
    path: Path, group: int, leaf: str, part: pa.Table, chosen: npt.NDArray[np.int64], is_stored: npt.NDArray[np.bool_]
) -> list[StoredImage | str | None]:
    """For each chosen row where its picture's bytes are, or its path."""
    stored = is_stored[chosen]
    name = leaf.removesuffix(".bytes")
    paths = [None] * len(chosen) if stored.all() or name not in part.column_names else part[name].to_pylist()
    return [
        StoredImage(path, group, row, leaf) if here else (beside or {}).get("path")
        for row, here, beside in zip(chosen.tolist(), stored.tolist(), paths, strict=True)
    ]


def _bytes_leaf(field: pa.Field) -> str | None:
    """The path of the column that holds encoded pictures, if the field is one of pictures."""
    if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
        return str(field.name)
    if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
        return f"{field.name}.bytes"
    return None


def _light_leaves(field: pa.Field, pictures: Mapping[str, str]) -> list[str]:
    """The columns to read of a field: all but the bytes of pictures."""
    if field.name not in pictures:
        return [field.name]
    inner = field.type if pa.types.is_struct(field.type) else ()
    return [f"{field.name}.{part.name}" for part in inner if part.name != "bytes"]


def _chosen(table: pa.Table, splits: Sequence[str] | None) -> npt.NDArray[np.int64]:
    """The rows of a row group that belong to the splits."""
    if splits is None:
        return np.arange(len(table))
    mask = pc.is_in(table["split"], pa.array(splits, pa.string()))
    pairs = [name.split(":") for name in splits if name.count(":") == 1]
    for task, split in pairs:
        mask = pc.or_(mask, pc.and_(pc.equal(table["task"], task), pc.equal(table["split"], split)))
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def _is_stored(file: pq.ParquetFile, group: int, leaf: str) -> npt.NDArray[np.bool_]:
    """For each row of a row group whether it holds the picture's bytes: by the file's statistics, where they tell."""
    described = file.metadata.row_group(group)
    column = next(i for i in range(described.num_columns) if described.column(i).path_in_schema == leaf)
    statistics = described.column(column).statistics
    if statistics is not None and statistics.has_null_count and statistics.null_count in (0, described.num_rows):
        return np.full(described.num_rows, statistics.null_count == 0)
    values = file.read_row_group(group, columns=[leaf]).column(0)
    values = pc.struct_field(values, 0) if pa.types.is_struct(values.type) else values
    known: npt.NDArray[np.bool_] = values.is_valid().to_numpy(zero_copy_only=False)
    return known


def _splits(file: pq.ParquetFile) -> set[str]:
    return set(pc.unique(file.read(columns=["split"])["split"]).to_pylist())


def _check_ids(path: Path, file: pq.ParquetFile) -> None:
    ids = file.read(columns=["id"])["id"]
    if pc.count_distinct(ids, mode="all").as_py() == len(ids):
        return
    seen: set[str] = set()
    for number, name in enumerate(ids.to_pylist()):
        if name in seen:
            raise UserError(f"{path}: row {number}: id {name!r} comes a second time; give every row its own")
        seen.add(name)


class _Alike:
    """What many rows have alike is one object: a million rows of ten raters name a few thousand sets of votes."""

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


def _lists(column: pa.ChunkedArray, make: Callable[..., Any]) -> list[Any]:
    """What `make` makes of each row of a column of lists, or of lists of structs by their fields: once for rows that
    are equal; None for null."""
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


def _samples(path: Path, group: _Part, alike: _Alike) -> Iterator[Sample]:
    nested: dict[str, Callable[..., Any]] = {
        "candidates": alike.candidates, "votes": alike.votes, "second_votes": alike.votes,
    }  # fmt: skip
    columns: dict[str, list[Any]] = {}
    for name in group.table.column_names:
        if name in nested:
            columns[name] = _lists(group.table[name], nested[name])
        elif name not in group.images:
            columns[name] = group.table[name].to_pylist()
    columns |= {name: list(images) for name, images in group.images.items()}
    missing = [None] * len(group.numbers)
    ordered = [columns.get(name, missing) for name in (*REQUIRED, *OPTIONAL)]
    for number, row in zip(group.numbers, zip(*ordered, strict=True), strict=True):
        name, image, task, candidates, label, split, of, cluster, licence, votes, rule, ratings, second = row
        if unknown := [each for each in (*([label] if label else ()), *(votes or ())) if each not in candidates]:
            raise UserError(f"{path}: row {number} ({name}): {unknown[0]!r} is not among its candidates")
        yield Sample(
            id=name,
            image=image if isinstance(image, StoredImage | bytes) else FileImage(path.parent, image or ""),
            task=intern(task),
            candidates=candidates,
            label=label and intern(label),
            split=intern(split),
            group=intern(of),
            cluster=name if cluster == name else cluster,
            votes=votes,
            licence=intern(licence),
            ratings=alike.ratings(ratings),
            label_rule=intern(rule or "given"),
            second_votes=second,
        )
