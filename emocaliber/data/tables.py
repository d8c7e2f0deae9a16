"""Tables: CSV, JSON Lines, JSON and Parquet files, record by record, each with its place.

Not a reader of what a record means (see records). Broken lines become problems, and reading goes on.

    emocaliber data check labels.csv
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError
from emocaliber.data.records import LABEL, Given, read_record
from emocaliber.data.rows import Found, Place, Problem
from emocaliber.data.votes import labels_in

Record = tuple[Place, Mapping[str, Any]]
SUFFIXES = (".csv", ".jsonl", ".json", ".parquet")
LONGEST_LINE = 16_000_000
BATCH = 256
VOTES_PREFIX = "votes."


def read_table(path: Path, given: Given) -> Iterator[Found]:
    """Each record's row or problems. Where neither rows nor `given` list candidates, all labels of the file are."""
    if not given.labels:
        given = with_labels(given, records(path))
    for number, one in enumerate(records(path), start=1):
        if isinstance(one, Problem):
            yield one
        else:
            place, values = one
            yield from read_record(place, values, given, f"{path.stem}/{number}")


def with_labels(given: Given, found: Iterable[Record | Problem]) -> Given:
    """`given` with the labels that records without candidates name, sorted. It takes one pass over the records."""
    labels: set[str] = set()
    for one in found:
        if isinstance(one, Problem) or one[1].get("candidates") is not None:
            continue
        values = one[1]
        labels |= {str(values[name]) for name in LABEL if isinstance(values.get(name), str) and values[name]}
        labels |= labels_in(values.get("votes"))
    return replace(given, candidates=tuple(sorted(labels)))


def records(path: Path) -> Iterator[Record | Problem]:
    """The file's records in order. Raises UserError where the file is missing or of an unknown kind."""
    readers = {".csv": _csv, ".jsonl": _json_lines, ".json": _json, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: a table is a file ending in {', '.join(readers)}")
    try:
        yield from readers[path.suffix.lower()](path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def _csv(path: Path) -> Iterator[Record | Problem]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield Problem("not CSV", Place(str(path), rows.reader.line_num), "", str(error), "mend the quotes")
                continue
            if row is None:
                return
            yield _csv_row(Place(str(path), rows.line_num), row)


def _csv_row(place: Place, row: Mapping[str | None, Any]) -> Record | Problem:
    if None in row or None in row.values():
        return Problem("wrong number of fields", place, "", "it does not have as many fields as the header",
                       "quote a field that holds a comma")  # fmt: skip
    if any("\udc80" <= character <= "\udcff" for value in row.values() for character in value):
        return Problem("not UTF-8", place, "", "it is not UTF-8", "save the file as UTF-8")
    values: dict[str, Any] = {str(key): value for key, value in row.items() if value != ""}
    for key in ("votes", "candidates", "raters"):
        if key in values:
            try:
                values[key] = msgspec.json.decode(values[key])
            except msgspec.DecodeError:
                return Problem("cell is not JSON", place, key, f"{values[key]!r} is not JSON",
                               'write {"joy": 3} or ["joy", "fear"], quoted for CSV')  # fmt: skip
    columns = {key: values.pop(key) for key in list(values) if key.startswith(VOTES_PREFIX)}
    if columns:
        values["votes"] = {key.removeprefix(VOTES_PREFIX): _whole(value) for key, value in columns.items()}
    return place, values


def _whole(cell: str) -> int | str:
    """A count, or the cell as it stands, which the vote reader will name."""
    return int(cell) if cell.strip().isascii() and cell.strip().isdigit() else cell


def _json_lines(path: Path) -> Iterator[Record | Problem]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            place = Place(str(path), number)
            if len(line) == LONGEST_LINE:
                yield Problem("not JSON", place, "", f"longer than {LONGEST_LINE:,} bytes", "write one object a line")
                return
            if line.strip():
                yield _json_object(place, line)


def _json_object(place: Place, line: bytes) -> Record | Problem:
    try:
        values = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError:
        return Problem("not UTF-8", place, "", "it is not UTF-8", "save the file as UTF-8")
    except (msgspec.DecodeError, RecursionError) as error:
        return Problem("not JSON", place, "", f"not JSON ({error})", "write one whole object a line")
    return _object(place, values)


def _object(place: Place, values: object) -> Record | Problem:
    if not isinstance(values, dict):
        return Problem("not an object", place, "", f"{str(values)[:40]!r} is not an object", "write {...} a row")
    return place, values


def _json(path: Path) -> Iterator[Record | Problem]:
    """A list of objects, or one object of objects by id."""
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        yield Problem("not JSON", Place(str(path)), "", f"not JSON ({error})", "write a list of objects")
        return
    if isinstance(content, dict):
        content = [{"id": name} | one if isinstance(one, dict) else one for name, one in content.items()]
    if not isinstance(content, list):
        yield Problem("not an object", Place(str(path)), "", "not a list", "write a list of objects")
        return
    for number, values in enumerate(content, start=1):
        yield _object(Place(str(path), number, "item"), values)


def _parquet(path: Path) -> Iterator[Record | Problem]:
    number = 0
    try:
        with path.open("rb") as file, pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Place(str(path), number, "row"), values
    except pa.ArrowException as error:
        first = str(error).partition("\n")[0]
        yield Problem("not Parquet", Place(str(path)), "", f"not a readable Parquet file ({first})", "write it anew")
