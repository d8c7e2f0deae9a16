"""Reading delimited text from any tool, record by record, each with its place.

Supported are UTF-8 and UTF-16 with or without a byte-order mark, gzip, any line endings, and columns separated by
comma, semicolon, tab or vertical bar (also declared by Excel's `sep=` line). Malformed lines become problems, and
reading continues.

    for record in csv_records(Path("labels.csv")): ...
"""

from __future__ import annotations

import ast
import codecs
import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import msgspec

from emocaliber.data.labels import is_missing
from emocaliber.data.rows import IMAGE, LABEL, LABEL_OTHERWISE, Place, Problem, column_name

Record = tuple[Place, Mapping[str, Any]]
LONGEST_LINE = 16_000_000
VOTES_PREFIX, SECOND_PREFIX = "votes.", "second_votes."
DELIMITERS = ",;\t|"
_CODECS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def open_text(path: Path) -> TextIO:
    """Open a file as text: gzip is decompressed, the byte-order mark removed, line endings kept.

    A byte that is not UTF-8 becomes a lone surrogate (see `is_no_utf8`).
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    raw: Any = gzip.open(path) if zipped else path.open("rb")  # noqa: SIM115 (the caller closes what is wrapped)
    start = raw.read(4)
    raw.seek(0)
    encoding = next((codec for mark, codec in _CODECS if start.startswith(mark)), "utf-8-sig")
    if len(start) == 4 and (start[::2] == b"\0\0" or start[1::2] == b"\0\0"):  # UTF-16 without its mark
        encoding = "utf-16-be" if start[0] == 0 else "utf-16-le"
    errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="")


def csv_records(path: Path) -> Iterator[Record | Problem]:
    """The records below the header."""
    with open_text(path) as file:
        first, skipped = file.readline(LONGEST_LINE), 0
        while first and (not first.strip() or _is_remark(first)):
            first, skipped = file.readline(LONGEST_LINE), skipped + 1
        declared, below = re.fullmatch(r"\"?sep=(.)\"?\s*", first), ""
        if declared or not _names_columns(first):
            below = file.readline(LONGEST_LINE)
            while below and not below.strip():
                below, skipped = file.readline(LONGEST_LINE), skipped + 1
            if declared or _names_columns(below):  # the first line declares the delimiter, or is a title
                first, below, skipped = below, "", skipped + 1
        delimiter = declared[1] if declared else _delimiter(first)
        spaced = f"{delimiter} " in first and delimiter != "\t"
        rows = csv.DictReader(chain(filter(None, (first, below)), file), delimiter=delimiter, skipinitialspace=spaced)
        names = [name.strip() for name in rows.fieldnames or ()]
        if twice := [name for name, count in Counter(map(column_name, names)).items() if count > 1 and name]:
            yield Problem("column named twice", Place(str(path), 1 + skipped), twice[0], "two columns have this name",
                          "rename or remove one", droppable=False)  # fmt: skip
            return
        rows.fieldnames = names
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                place = Place(str(path), rows.reader.line_num + skipped)
                yield Problem("not CSV", place, "", str(error), "mend the quotes")
                continue
            if row is None:
                return
            yield _csv_row(Place(str(path), rows.line_num + skipped), row)


def _is_remark(line: str) -> bool:
    """Whether a line is a comment, rather than a header that begins with a hash sign."""
    return line.startswith("#") and not _names_columns(line)


def _names_columns(line: str) -> bool:
    """Whether a line names a column of images or labels, so that it is a header."""
    names = {column_name(part.strip("#\"' \r\n")) for part in re.split(r"[,;\t|]", line)}
    return bool(names & {*IMAGE, *LABEL, *LABEL_OTHERWISE, "pixels"})


def _delimiter(header: str) -> str:
    """The delimiter that gives the most known column names, then the most fields."""

    def score(delimiter: str) -> tuple[int, int]:
        fields = next(csv.reader([header], delimiter=delimiter), [])
        names = [column_name(name) for name in fields]
        known = {*IMAGE, *LABEL, *LABEL_OTHERWISE}
        return sum(name in known or name.startswith((VOTES_PREFIX, SECOND_PREFIX)) for name in names), len(fields)

    try:
        return max(DELIMITERS, key=score)
    except csv.Error:
        return ","


def _csv_row(place: Place, row: Mapping[str | None, Any]) -> Record | Problem:
    if None in row or None in row.values():
        names = [key for key in row if key is not None]
        fields = sum(row[key] is not None for key in names) + len(row.get(None) or ())
        what = f"{fields} fields, and the header has {len(names)}"
        return Problem("wrong number of fields", place, "", what, "quote a field that holds the delimiter")
    if any(map(is_no_utf8, row.values())):
        return Problem("not UTF-8", place, "", "it is not UTF-8", "save the file as UTF-8")
    if odd := next((key for key, value in row.items() if "\0" in value), None):
        return Problem("not text", place, odd, f"{row[odd]!r} holds a NUL character", "take it out")
    values: dict[str, Any] = {str(key): value or None for key, value in row.items()}
    for key in ("votes", "second_votes", "candidates", "raters"):
        if key in values and not is_missing(values[key]):
            try:
                values[key] = _structure(values[key])
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return Problem("cell is not JSON", place, key, f"{values[key]!r} is not JSON",
                               'write {"joy": 3} or ["joy", "fear"], quoted for CSV')  # fmt: skip
    for name, prefix in (("votes", VOTES_PREFIX), ("second_votes", SECOND_PREFIX)):
        columns = {key: values.pop(key) for key in list(values) if key.casefold().startswith(prefix)}
        if columns:
            values[name] = {key[len(prefix) :]: count_in(value) for key, value in columns.items() if value is not None}
    return place, values


def _structure(cell: str) -> Any:
    """The content of a cell: JSON, or as Python and pandas write it ({'joy': 3})."""
    try:
        return msgspec.json.decode(cell)
    except msgspec.DecodeError:
        return ast.literal_eval(cell.strip())


def count_in(cell: str) -> int | str:
    """The cell as a count (`3`, pandas' `3.0` or Excel's `3,0`); any other cell unchanged, for the vote reader to
    report."""
    if len(cell) <= 15 and cell.isascii() and cell.isdigit():
        return int(cell)
    digits = re.fullmatch(r"\s*(\d{1,15})([.,]0*)?\s*", cell, re.ASCII)
    return int(digits[1]) if digits else cell


def is_no_utf8(text: str) -> bool:
    """Whether the text contains bytes that were not UTF-8 (see open_text)."""
    return not text.isascii() and re.search("[\udc80-\udcff]", text) is not None
