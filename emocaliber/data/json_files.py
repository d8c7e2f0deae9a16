"""Reading JSON and JSON Lines record by record, each with its place, in the forms that other tools write.

A file ending in .json holds a list of objects, an object with one such list, an object of rows by id or by file name,
or one object a line. Malformed lines become problems, and reading continues.

    for record in json_records(Path("labels.json")): ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.data.csv_files import LONGEST_LINE, Record, is_no_utf8, open_text
from emocaliber.data.folders import ENDINGS
from emocaliber.data.rows import IMAGE, LABEL, Place, Problem, column_name

LARGEST_JSON = 2_000_000_000


def json_lines(path: Path) -> Iterator[Record | Problem]:
    """The records of a file with one object a line."""
    with open_text(path) as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            place = Place(str(path), number)
            if len(line) == LONGEST_LINE:
                yield Problem("not JSON", place, "", f"longer than {LONGEST_LINE:,} bytes", "write one object a line")
                return
            if line.strip():
                yield _json_object(place, line)


def _json_object(place: Place, line: str) -> Record | Problem:
    if is_no_utf8(line):
        return Problem("not UTF-8", place, "", "it is not UTF-8", "save the file as UTF-8")
    try:
        values = _from_json(line.encode())
    except (msgspec.DecodeError, RecursionError) as error:
        return Problem("not JSON", place, "", f"not JSON ({error})", "write one whole object a line")
    return _object(place, values)


def _from_json(text: bytes) -> Any:
    """The content of JSON text, also with NaN, as Python writes for missing values. Raises DecodeError."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        if b"NaN" not in text:
            raise
        try:
            return json.loads(text)
        except ValueError:
            pass  # the error of the strict reader says where
        raise


def _object(place: Place, values: object) -> Record | Problem:
    if not isinstance(values, dict):
        return Problem("not an object", place, "", f"{str(values)[:40]!r} is not an object", "write {...} a row")
    return place, values


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ValueError, UnicodeDecodeError or RecursionError if it is invalid."""
    with open_text(path) as file:
        text = file.read(LARGEST_JSON)
    return _from_json(text.encode(errors="surrogateescape"))


def json_records(path: Path) -> Iterator[Record | Problem]:
    """The records of a JSON file: a list of objects, an object of objects by id, or one object per line."""
    try:
        content = read_json(path)
    except (ValueError, RecursionError) as error:
        if len(several := list(json_lines(path))) > 1 and not isinstance(several[0], Problem):
            yield from several
            return
        yield Problem("not JSON", Place(str(path)), "", f"not JSON ({error})", "write a list of objects",
                      droppable=False)  # fmt: skip
        return
    rows = _rows_of(content)
    if isinstance(rows, str):
        yield Problem(
            "not an object", Place(str(path)), "", rows, "write a list of objects, one a row", droppable=False
        )
        return
    for number, values in enumerate(rows, start=1):
        yield _object(Place(str(path), number, "item"), values)


def _rows_of(content: object) -> list[Any] | str:
    """The rows of JSON: a list, the one list of objects in an object, or an object of rows by id or by file name; or
    what else it is."""
    if isinstance(content, list) or not isinstance(content, dict):
        return content if isinstance(content, list) else "not a list"
    if {"images", "annotations", "categories"} <= content.keys():
        return "COCO's form, which tells pictures, annotations and categories apart"
    nested = all(isinstance(value, dict | list) for value in content.values())
    if {"columns", "data"} <= content.keys() or (nested and {column_name(key) for key in content} & {*IMAGE, *LABEL}):
        return "columns, not rows (pandas writes rows with orient='records')"
    lists = [value for value in content.values() if isinstance(value, list)]
    if len(lists) == 1 and lists[0] and all(isinstance(row, dict) for row in lists[0]):
        return list(lists[0])
    return [_by_id(str(name), row) for name, row in content.items()]


def _by_id(name: str, row: object) -> object:
    is_file = name.casefold().endswith(ENDINGS)
    if isinstance(row, str) and is_file:
        return {"image": name, "label": row}
    if not isinstance(row, dict):
        return row
    named = {column_name(key) for key in row} & {*IMAGE, "messages", "conversations"}
    return {"id": name} | ({"image": name} if is_file and not named else {}) | row
