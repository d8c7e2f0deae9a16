"""Reading any Parquet file part by part: rows without image bytes, and references to where the bytes are.

for number, row in stored_rows(Path("photos.parquet")): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emocaliber.core.samples import ImageSource, StoredImage

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
ROWS, ROWS_WITH_PICTURES = 16_384, 256
"""Rows in memory at a time, without and with image bytes."""
_TEXTS = {"label", "labels", "emotion", "class", "id", "split", "task"}
BUFFER = 1 << 20  # bytes read from a column at a time, so that not all images of a row group are read at once


def stored_rows(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    pictures: bool = False,
    opened: pa.NativeFile | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row of any Parquet file with its number, counted from 0. Images become StoredImages; no bytes are read.

    An image column is binary, or a struct with a field `bytes`, as Hugging Face datasets writes it; if the bytes are
    null, the value is the path. With `pictures`, rows include the image bytes, for one sequential pass with at most a
    few hundred images in memory, however large a row group is. `opened` is a remote file, already opened. Raises
    pyarrow's errors.
    """
    with pq.ParquetFile(path if opened is None else opened, buffer_size=BUFFER, pre_buffer=False) as file:
        for part in parts_of(path, file, columns, None, pictures=pictures):
            for row, (number, values) in enumerate(zip(part.numbers.tolist(), part.table.to_pylist(), strict=True)):
                yield number, values | {name: images[row] for name, images in part.images.items()}


@dataclass(frozen=True)
class Part:
    """Selected rows of (part of) a row group: their numbers in the file, their columns without image bytes, and their
    images or references to them."""

    path: Path
    numbers: Numbers
    table: pa.Table
    images: Mapping[str, Sequence[ImageSource | str | None]]

    def take(self, rows: Numbers) -> Part:
        """Some of its rows, by position; only for images that stay in the file."""
        images = {name: of.take(rows) for name, of in self.images.items() if isinstance(of, InFile)}
        return Part(self.path, self.numbers[rows], self.table.take(pa.array(rows)), images)


class InFile(Sequence[StoredImage | str | None]):
    """A lazy sequence with a reference to each row's image bytes, or its path. `stored` is the mask of rows with bytes;
    `paths` is None if all rows have bytes."""

    def __init__(self, file: Path, group: int, leaf: str, rows: Numbers, stored: Mask, paths: pa.Array | None) -> None:
        self._place = file, group, leaf
        self._rows, self.stored, self._paths = rows, stored, paths

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        if self.stored[row]:
            return StoredImage(self._place[0], self._place[1], int(self._rows[row]), self._place[2])
        return None if self._paths is None else (self._paths[row].as_py() or {}).get("path")

    def __iter__(self) -> Iterator[StoredImage | str | None]:
        file, group, leaf = self._place
        paths = [None] * len(self) if self._paths is None else self._paths.to_pylist()
        for row, here, beside in zip(self._rows.tolist(), self.stored.tolist(), paths, strict=True):
            yield StoredImage(file, group, row, leaf) if here else (beside or {}).get("path")

    def take(self, rows: Numbers) -> InFile:
        """The images of some rows."""
        paths = None if self._paths is None else self._paths.take(pa.array(rows))
        return InFile(*self._place, self._rows[rows], self.stored[rows], paths)


def parts_of(
    path: Path, file: pq.ParquetFile, columns: Sequence[str] | None, splits: Sequence[str] | None, *, pictures: bool
) -> Iterator[Part]:
    """The rows of these splits (None: all), part by part, a row group or less at a time."""
    fields = [field for field in file.schema_arrow if columns is None or field.name in columns]
    bytes_in = {field.name: leaf for field in fields if (leaf := _bytes_leaf(field))}
    light = [leaf for field in fields for leaf in _light_leaves(field, bytes_in)]
    leaves = [field.name for field in fields] if pictures else light
    before = 0
    for group in range(file.num_row_groups):
        start, stored = 0, dict[str, Mask]()
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
                light_columns = [name for name in rows.column_names if name not in bytes_in]
                yield Part(path, chosen + start + before, rows.select(light_columns), images)
            start += len(table)
        before += start


def _tables(file: pq.ParquetFile, group: int, leaves: Sequence[str], size: int) -> Iterator[pa.Table]:
    """The columns of a row group, so many rows at a time."""
    if not leaves:
        yield file.read_row_group(group, columns=[])
        return
    for batch in file.iter_batches(
        size, row_groups=[group], columns=leaves, use_threads=False
    ):  # threads would read everything
        yield pa.Table.from_batches([batch])


def _bytes_of(column: pa.ChunkedArray) -> list[bytes | str | None]:
    """The bytes of each row's picture, or its path."""
    return [
        value if value is None or isinstance(value, bytes) else value.get("path") if value["bytes"] is None
        else value["bytes"]
        for value in column.to_pylist()
    ]  # fmt: skip


def _images(path: Path, group: int, leaf: str, part: pa.Table, chosen: Numbers, is_stored: Mask) -> InFile:
    """For each chosen row where its picture's bytes are, or its path."""
    stored, name = is_stored[chosen], leaf.removesuffix(".bytes")
    paths = None if stored.all() or name not in part.column_names else part[name].combine_chunks()
    return InFile(path, group, leaf, chosen, stored, paths)


def _bytes_leaf(field: pa.Field) -> str | None:
    """The path of the column that holds encoded pictures, if the field is one of pictures. Labels may be bytes too."""
    if field.name.casefold() in _TEXTS:
        return None
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


def _chosen(table: pa.Table, splits: Sequence[str] | None) -> Numbers:
    """The rows of a row group that belong to the splits."""
    if splits is None:
        return np.arange(len(table))
    mask = pc.is_in(table["split"], pa.array(splits, pa.string()))
    pairs = [name.split(":") for name in splits if name.count(":") == 1]
    for task, split in pairs:
        mask = pc.or_(mask, pc.and_(pc.equal(table["task"], task), pc.equal(table["split"], split)))
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def _is_stored(file: pq.ParquetFile, group: int, leaf: str) -> Mask:
    """For each row of a row group whether it holds the picture's bytes: by the file's statistics, where they tell."""
    described = file.metadata.row_group(group)
    column = next(i for i in range(described.num_columns) if described.column(i).path_in_schema == leaf)
    statistics = described.column(column).statistics
    if statistics is not None and statistics.has_null_count and statistics.null_count in (0, described.num_rows):
        return np.full(described.num_rows, statistics.null_count == 0)
    values = file.read_row_group(group, columns=[leaf]).column(0)
    values = pc.struct_field(values, 0) if pa.types.is_struct(values.type) else values
    known: Mask = values.is_valid().to_numpy(zero_copy_only=False)
    return known
