"""The cells of a table as they stand in its file: delimited text in any dialect, Parquet, or JSON objects.

gzip, byte-order marks and UTF-16 are understood; an Excel file, a spreadsheet or a zip is refused by name.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_text


@dataclass
class Cells:
    """Header and cells of a file, with the number and the word ("line", "row") by which a fault names its place."""

    header: list[str]
    cells: list[list[Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    place: str = "line"
    delimiter: str = ","


def read_cells(path: Path) -> Cells:
    """Header and cells of a file. Raises UserError where it is no table, or holds a header and no row."""
    with open_text(path) as file:
        cells = _cells(path, file)
    if not cells.cells:
        raise UserError(f"{path} holds a header line and no row")
    return cells


def _cells(path: Path, file: BinaryIO) -> Cells:
    head = file.peek(8)[:8]  # type: ignore[attr-defined]
    if head.startswith(b"PAR1"):
        return _parquet(path)
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UserError(f"{path} is {_container(path, head)}")
    if head.lstrip()[:1] in (b"{", b"["):
        return _objects(path, file)
    return _delimited(path, file)


def _container(path: Path, head: bytes) -> str:
    names = zipfile.ZipFile(path).namelist() if head.startswith(b"PK") and zipfile.is_zipfile(path) else ["xl/"]
    if any(name.startswith("xl/") for name in names):
        return "an Excel file: save it as CSV (File, Save As, CSV UTF-8) and give that"
    if "content.xml" in names:
        return "a spreadsheet: save it as CSV and give that"
    return "a zip archive: unpack it and give the table in it"


def _parquet(path: Path) -> Cells:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as problem:
        raise UserError(f"{path} is not a readable Parquet file: {problem}") from None
    cells = [list(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    return Cells(list(table.column_names), cells, list(range(1, len(cells) + 1)), "row")


def _objects(path: Path, file: BinaryIO) -> Cells:
    """JSON Lines, or one JSON list, of objects; a key that an object lacks is empty."""
    text = file.read()
    if text.lstrip()[:1] == b"[":
        lines: list[tuple[int, bytes]] = []
        try:
            lines = list(enumerate(map(bytes, msgspec.json.decode(text, type=list[msgspec.Raw])), 1))
        except msgspec.DecodeError as problem:
            raise UserError(f"{path}: {problem}; it begins as a JSON list, and must be one to its end") from None
    else:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    objects: list[dict[str, Any]] = []
    for number, line in lines:
        try:
            objects.append(msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.DecodeError as problem:
            raise UserError(
                f"{path}, line {number}: {problem}; each line must be one JSON object (NaN and Infinity are not JSON)"
            ) from None
    header = list(dict.fromkeys(key for each in objects for key in each))
    cells = [[each.get(key) for key in header] for each in objects]
    return Cells(header, cells, [number for number, _ in lines])


def _delimited(path: Path, file: BinaryIO) -> Cells:
    limit = csv.field_size_limit(1 << 26)  # a column of responses may be long
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        first = text.readline()
        if not first and not text.read(1):
            raise UserError(f"{path} is empty")
        declared = re.fullmatch(r"sep=(.)\r?\n?", first)
        lines = text if declared else _chain(first, text)
        delimiter = declared[1] if declared else _delimiter(first)
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        raw = Cells([cell.strip() for cell in next(reader, [])], delimiter=delimiter)
        offset = 1 if declared else 0
        for cells in reader:
            if any(cell.strip() for cell in cells):
                raw.cells.append(list(cells))
                raw.numbers.append(reader.line_num + offset)
        return raw
    except UnicodeDecodeError as problem:
        raise UserError(f"{path} is not UTF-8 text ({problem}); save it as CSV UTF-8") from None
    except csv.Error as problem:
        raise UserError(f"{path} cannot be read as a table: {problem}") from None
    finally:
        text.detach()
        csv.field_size_limit(limit)  # it is the process's own, and data tables rely on the usual one


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """What parts the header into the most fields; a comma where nothing does."""
    return max(",;\t|", key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))
