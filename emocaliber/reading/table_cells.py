"""The raw cells of a table: delimited text in any dialect, Parquet, Excel, or JSON objects.

gzip, byte-order marks and UTF-16 are understood; another spreadsheet or a zip is refused by name.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_utf8

_ZIP = b"PK\x03\x04"
_LONGEST_HEADER = 1 << 17


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
    with open_utf8(path) as file:
        cells = _cells(path, file)
    if not cells.cells:
        raise UserError(f"{path} holds a header line and no row")
    return cells


def read_header(path: Path) -> list[str]:
    """The header of a delimited or an Excel file, its rows unread; [] where it has none or is of another kind."""
    with open_utf8(path) as file:
        head = file.peek(8)[:8]  # type: ignore[attr-defined]
        if head.startswith(_ZIP):
            return _excel(path, header_alone=True).header if _is_excel(path) else []
        first = file.readline(_LONGEST_HEADER).decode(errors="replace")
        if re.fullmatch(r"sep=(.)\r?\n?", first):
            first = file.readline(_LONGEST_HEADER).decode(errors="replace")
    try:
        header = next(csv.reader([first], delimiter=_delimiter(first), skipinitialspace=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in header]


def _cells(path: Path, file: BinaryIO) -> Cells:
    head = file.peek(8)[:8]  # type: ignore[attr-defined]
    if head.startswith(b"PAR1"):
        return _parquet(path)
    if head.startswith(_ZIP) and _is_excel(path):
        return _excel(path)
    if head.startswith((_ZIP, b"\xd0\xcf\x11\xe0")):
        raise UserError(f"{path} is {_container(path, head)}")
    if path.suffix.casefold() in (".xlsx", ".xls", ".ods"):
        raise UserError(f"{path} is no spreadsheet, though its name says so; name it as what it is, such as .csv")
    if head.lstrip()[:1] in (b"{", b"["):
        return _objects(path, file)
    return _delimited(path, file)


def _container(path: Path, head: bytes) -> str:
    if not head.startswith(_ZIP) or not zipfile.is_zipfile(path):
        return "an old or broken Excel file: save it as .xlsx or CSV and give that"
    if "content.xml" in zipfile.ZipFile(path).namelist():
        return "a spreadsheet: save it as .xlsx or CSV and give that"
    return "a zip archive: unpack it and give the table in it"


def _is_excel(path: Path) -> bool:
    return zipfile.is_zipfile(path) and any(name.startswith("xl/") for name in zipfile.ZipFile(path).namelist())


def _excel(path: Path, *, header_alone: bool = False) -> Cells:
    """The one sheet of an Excel file that holds anything, its formulas as the values that were saved."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        used = [sheet for sheet in book.worksheets if any(map(any, sheet.iter_rows(max_row=1, values_only=True)))]
        if len(used) != 1:
            raise UserError(f"{path} has {len(used)} sheets with a header line; keep one")
        rows = used[0].iter_rows(values_only=True)
        header = list(next(rows))
        while header[-1] is None:
            header.pop()
        raw = Cells([str("" if name is None else name).strip() for name in header], place="row")
        for number, row in enumerate(() if header_alone else rows, 2):
            if any(cell is not None for cell in row):
                filled = [*row, *[None] * (len(header) - len(row))]
                beyond = any(cell is not None for cell in filled[len(header) :])
                raw.cells.append(filled if beyond else filled[: len(header)])
                raw.numbers.append(number)
    except (KeyError, ValueError, OSError, SyntaxError, zipfile.BadZipFile) as problem:
        raise UserError(f"{path} is an Excel file that cannot be read ({problem}): save it as CSV") from None
    book.close()
    return raw


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
        try:
            objects = listed_objects(text)
        except ValueError as problem:
            raise UserError(f"{path}: {problem}; it begins as a JSON list, and must be one to its end") from None
        numbers = list(range(1, len(objects) + 1))
    else:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        numbers, objects = [number for number, _ in lines], []
        for number, line in lines:
            try:
                objects.append(msgspec.json.decode(line, type=dict[str, Any]))
            except msgspec.DecodeError as problem:
                raise UserError(
                    f"{path}, line {number}: {problem}; each line must be one JSON object (NaN and Infinity are not"
                    " JSON)"
                ) from None
    header = list(dict.fromkeys(key for each in objects for key in each))
    return Cells(header, [[each.get(key) for key in header] for each in objects], numbers)


def listed_objects(text: bytes) -> list[dict[str, Any]]:
    """The objects of a JSON list, with the NaN that pandas writes for an empty cell. Raises ValueError where the text
    is none."""
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError as problem:
        if b"NaN" not in text:
            raise ValueError(str(problem)) from None
    objects = json.loads(text)
    if not all(isinstance(each, dict) for each in objects):
        raise ValueError("it holds something else than objects")
    return list(objects)


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
