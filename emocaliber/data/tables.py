"""Tables: CSV (see csv_files), JSON Lines, JSON and Parquet files, read record by record, each with its place.

Text may be UTF-8 or UTF-16, and gzipped. Malformed lines become problems, and reading continues. A folder is a table if
it contains Parquet files (a downloaded Hub data set) or metadata.csv/.jsonl.

    emocaliber data check labels.csv
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError
from emocaliber.data.csv_files import LONGEST_LINE, Record, csv_records, is_no_utf8, open_text
from emocaliber.data.labels import class_names, one_spelling
from emocaliber.data.parquet_parts import stored_rows
from emocaliber.data.records import read_record
from emocaliber.data.rows import (
    IMAGE,
    LABEL,
    LABEL_OTHERWISE,
    SPLITS,
    Defaults,
    Entry,
    Note,
    Place,
    Problem,
    column_name,
    label_of,
)
from emocaliber.data.votes import labels_in

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
LARGEST_JSON = 2_000_000_000


def read_table(path: Path, defaults: Defaults) -> Iterator[Entry]:
    """Each record's row or problems. If neither rows nor `defaults` list candidates, all labels in the file are"
    " used."""
    files = list(table_files(path))
    if not defaults.labels:
        names = next((names for file in files if (names := names_of_classes(file))), ())
        numbers = {str(number): name for number, name in enumerate(names)}
        defaults = replace(defaults, candidates=names, class_names=numbers)
    if not defaults.labels:
        labels, sentences = gather_labels(chain.from_iterable(records(file, values=False) for file in files))
        defaults = replace(defaults, candidates=labels)
        yield from (Note("spellings of one label", Place(str(path)), sentence) for sentence in sentences)
    for file in files:
        yield from _rows(file, path, defaults)


def _rows(file: Path, source: Path, defaults: Defaults) -> Iterator[Entry]:
    prefix = _stem(file)
    if file != source:  # one of several tables: ids and image paths are relative to its own folder
        part = file.relative_to(source).parent
        prefix = (part / prefix).as_posix()
        named = [SPLITS.get(text.casefold()) for text in (*part.parts, re.split(r"[-_.]", file.name)[0])]
        defaults = replace(defaults, root=file.parent, split=next(filter(None, named), defaults.split))
    for number, record in enumerate(records(file), start=1):
        if isinstance(record, Problem):
            yield record
            continue
        place, values = record
        if number == 1 and (problem := no_image_column(file, values)):
            yield problem
            return
        yield from read_record(place, values, defaults, f"{prefix}/{number}")


def no_image_column(file: Path, values: Mapping[str, Any]) -> Problem | None:
    """The problem of a table without an image column, reported once for its first row instead of for every row."""
    if kind_of(file) not in (".csv", ".tsv", ".parquet"):
        return None
    columns = {column_name(name): name for name in values}
    if set(columns) & {*IMAGE, "pixels"}:
        return None
    shown = ", ".join(repr(name) for name in values)
    return Problem("no image column", Place(str(file), 1), "image", f"the columns are {shown}; none names the images",
                   "call one 'image'; if this is the first row, write a first line such as image,label above it",
                   droppable=False)  # fmt: skip


def table_files(path: Path) -> Iterator[Path]:
    """The tables of a folder in order, or the file itself."""
    if not path.is_dir():
        yield path
        return
    shards = sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")])
    names = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
    yield from shards or sorted(p for name in names for p in (*path.glob(name), *path.glob(f"*/{name}")))


def is_table_folder(path: Path) -> bool:
    """Whether a folder contains tables that name or contain its images."""
    return next(table_files(path), None) is not None


def kind_of(path: Path) -> str:
    """One of SUFFIXES, or the unknown ending."""
    name = path.name.casefold()
    return Path(name.removesuffix(".gz")).suffix


def _stem(path: Path) -> str:
    return Path(path.stem).stem if path.suffix.casefold() == ".gz" else path.stem


def gather_labels(entries: Iterable[Record | Problem]) -> tuple[tuple[str, ...], list[str]]:
    """The labels in records without candidates, and a sentence for each spelling variant that was merged."""
    counts: Counter[str] = Counter()
    for entry in entries:
        if isinstance(entry, Problem):
            continue
        values = {column_name(key): value for key, value in entry[1].items()}
        if values.get("candidates") is not None:
            continue
        label = label_of(values)[1]
        if isinstance(label, str):
            counts[label] += 1
        counts.update(labels_in(values.get("votes")))
    return one_spelling(counts)


def records(path: Path, *, values: bool = True, pictures: bool = False) -> Iterator[Record | Problem]:
    """The file's records in order; without `values`, Parquet records have only label, votes and candidates.

    Images in Parquet are read when needed, or with `pictures` along with the records, for one sequential pass. Raises
    UserError if the file is missing or of an unknown kind.
    """
    kind = kind_of(path)
    if kind not in SUFFIXES:
        raise UserError(f"{path}: a table is a file ending in {', '.join(SUFFIXES)}")
    readers = {".csv": csv_records, ".tsv": csv_records, ".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json}
    try:
        yield from _parquet(path, values=values, pictures=pictures) if kind == ".parquet" else readers[kind](path)
    except UnicodeDecodeError as error:
        yield Problem("not UTF-8", Place(str(path)), "", f"it cannot be decoded as {error.encoding}",
                      "save the file as UTF-8", droppable=False)  # fmt: skip
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _json_lines(path: Path) -> Iterator[Record | Problem]:
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


def _json(path: Path) -> Iterator[Record | Problem]:
    """The records of a JSON file: a list of objects, an object of objects by id, or one object per line."""
    try:
        content = read_json(path)
    except (ValueError, RecursionError) as error:
        if len(several := list(_json_lines(path))) > 1 and not isinstance(several[0], Problem):
            yield from several
            return
        yield Problem("not JSON", Place(str(path)), "", f"not JSON ({error})", "write a list of objects",
                      droppable=False)  # fmt: skip
        return
    if isinstance(content, dict):
        content = [{"id": name} | row if isinstance(row, dict) else row for name, row in content.items()]
    if not isinstance(content, list):
        yield Problem("not an object", Place(str(path)), "", "not a list", "write a list of objects", droppable=False)
        return
    for number, values in enumerate(content, start=1):
        yield _object(Place(str(path), number, "item"), values)


def _parquet(path: Path, *, values: bool, pictures: bool) -> Iterator[Record | Problem]:
    try:
        with path.open("rb") as file, pq.ParquetFile(file) as table:
            names = [name for name in table.schema_arrow.names if values or column_name(name) in _LABELLING]
        for number, row in stored_rows(path, names, pictures=pictures):
            yield Place(str(path), number + 1, "row"), row
    except pa.ArrowException as error:
        first = str(error).partition("\n")[0]
        yield Problem("not Parquet", Place(str(path)), "", f"not a readable Parquet file ({first})", "write it anew",
                      droppable=False)  # fmt: skip


_LABELLING = {*LABEL, *LABEL_OTHERWISE, "votes", "candidates"}


def names_of_classes(path: Path) -> tuple[str, ...]:
    """The class names of a Parquet file's label column, from the file or the card beside it; empty if there are"
    " none."""
    if kind_of(path) != ".parquet":
        return ()
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return ()  # the reader of its rows says what is wrong
    names: Sequence[str] = [name for name in schema.names if column_name(name) in (*LABEL, *LABEL_OTHERWISE)]
    return class_names(names, schema.metadata, path.parent)
