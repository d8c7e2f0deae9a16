"""Tables: CSV (see csv_files), JSON Lines, JSON and Parquet files, read record by record, each with its place.

Text may be UTF-8 or UTF-16, and gzipped. Malformed lines become problems, and reading continues. A folder is a table if
it contains Parquet files (a downloaded Hub data set) or metadata.csv/.jsonl.

    emocaliber data check labels.csv
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError
from emocaliber.data.class_names import named_classes
from emocaliber.data.csv_files import Record, csv_records
from emocaliber.data.json_files import json_lines, json_records
from emocaliber.data.labels import is_missing
from emocaliber.data.parquet_parts import stored_rows
from emocaliber.data.records import read_record
from emocaliber.data.rows import (
    IMAGE,
    LABEL,
    LABEL_NAMES,
    LABEL_OTHERWISE,
    NAMES,
    SPLIT,
    SPLIT_OTHERWISE,
    SPLITS,
    Defaults,
    Entry,
    Note,
    Place,
    Problem,
    column_name,
    label_of,
    labels_of,
)
from emocaliber.data.votes import labels_in

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


def read_table(path: Path, defaults: Defaults) -> Iterator[Entry]:
    """Each record's row or problems. If neither rows nor `defaults` list candidates, all labels that the file names in
    a task are that task's."""
    files = list(table_files(path))
    declared, numbers, by_task = defaults.labels, dict[Path, Mapping[str, str]](), dict[str, tuple[str, ...]]()
    if not declared:
        labels, numbers, entries = named_classes(files)
        yield from entries
        defaults = replace(defaults, candidates=labels)
    if not defaults.labels:
        read = chain.from_iterable(records(file, values=False) for file in files)
        by_task, entries = gather_tasks(Place(str(path)), read)
        yield from entries
    for file in files:
        names = defaults.class_names if declared else numbers.get(file, {})
        yield from _rows(file, path, replace(defaults, class_names=names), by_task)


def _rows(file: Path, source: Path, defaults: Defaults, by_task: Mapping[str, tuple[str, ...]]) -> Iterator[Entry]:
    prefix = _stem(file)
    if file != source:  # one of several tables: ids and image paths are relative to its own folder
        part = file.relative_to(source).parent
        prefix = (part / prefix).as_posix()
        defaults = replace(defaults, root=file.parent, split=_split_in_name(part, file.name) or defaults.split)
    for number, record in enumerate(records(file), start=1):
        if isinstance(record, Problem):
            yield record
            continue
        place, values = record
        if number == 1:
            if problem := no_image_column(file, values) or _no_split(file, source, values):
                yield problem
                return
            yield from _unread(file, values)
        own = by_task.get(task_of(values)) if by_task else None
        yield from read_record(place, values, defaults if own is None else replace(defaults, candidates=own),
                               f"{prefix}/{number}")  # fmt: skip


def _split_in_name(part: Path, name: str) -> str | None:
    texts = (*part.parts, re.split(r"[-_.]", name)[0])
    return next(filter(None, (SPLITS.get(text.casefold()) for text in texts)), None)


def _no_split(file: Path, source: Path, values: Mapping[str, Any]) -> Problem | None:
    """The problem of a file named as datasets names the files of a split (extra-00000-of-00001.parquet), after none."""
    shard = re.fullmatch(r"(.+)-\d{5}-of-\d{5}.*", file.name)
    own_column = {column_name(name) for name in values} & {*SPLIT, *SPLIT_OTHERWISE}
    if shard is None or file == source or own_column or _split_in_name(file.relative_to(source).parent, file.name):
        return None
    return Problem("unknown split", Place(str(file)), "split", f"{shard[1]!r} is no split",
                   f"name it one of {', '.join(dict(SPLITS))}", droppable=False)  # fmt: skip


def _unread(file: Path, values: Mapping[str, Any]) -> Iterator[Note]:
    """A note that names a table's columns that are not read, so that none is believed to be."""
    others = [name for name in values if name and column_name(name) not in NAMES]
    if kind_of(file) in (".csv", ".tsv", ".parquet") and others:
        yield Note("columns that are not read", Place(str(file)), ", ".join(map(repr, others)), len(others))


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
    inner = [folder for folder in path.iterdir() if folder.name.casefold() in {"data", *SPLITS} and folder.is_dir()]
    shards = sorted(file for folder in (path, *inner) for file in folder.glob("*.parquet"))
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


def gather_labels(place: Place, entries: Iterable[Record | Problem]) -> tuple[tuple[str, ...], list[Entry]]:
    """The labels in records without candidates, and the notes and problems about their spelling."""
    counts = Counter[str]()
    for of_task in _counted(entries).values():
        counts.update(of_task)
    return labels_of(place, counts)


def gather_tasks(place: Place, entries: Iterable[Record | Problem]) -> tuple[dict[str, tuple[str, ...]], list[Entry]]:
    """As `gather_labels`, for each task that the records name ("" for those that name none)."""
    found = {task: labels_of(place, counts) for task, counts in _counted(entries).items()}
    return {task: labels for task, (labels, _) in found.items()}, [e for _, listed in found.values() for e in listed]


def _counted(entries: Iterable[Record | Problem]) -> dict[str, Counter[str]]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if isinstance(entry, Problem):
            continue
        values = {column_name(key): value for key, value in entry[1].items()}
        if values.get("candidates") is not None:
            continue
        label = label_of(values)[1]
        if isinstance(label, str):
            counts[task_of(values)][label] += 1
        counts[task_of(values)].update(labels_in(values.get("votes")))
    return counts


def task_of(values: Mapping[str, Any]) -> str:
    """The task that a record names, or ""."""
    value = next((value for key, value in values.items() if column_name(key) == "task"), None)
    return "" if is_missing(value) else str(value)


def records(path: Path, *, values: bool = True, pictures: bool = False) -> Iterator[Record | Problem]:
    """The file's records in order; without `values`, Parquet records have only label, votes and candidates.

    Images in Parquet are read when needed, or with `pictures` along with the records, for one sequential pass. Raises
    UserError if the file is missing or of an unknown kind.
    """
    kind = kind_of(path)
    if kind not in SUFFIXES:
        raise UserError(f"{path}: a table is a file ending in {', '.join(SUFFIXES)}")
    readers = {".csv": csv_records, ".tsv": csv_records, ".jsonl": json_lines, ".ndjson": json_lines,
               ".json": json_records}  # fmt: skip
    try:
        yield from _parquet(path, values=values, pictures=pictures) if kind == ".parquet" else readers[kind](path)
    except UnicodeDecodeError as error:
        yield Problem("not UTF-8", Place(str(path)), "", f"it cannot be decoded as {error.encoding}",
                      "save the file as UTF-8", droppable=False)  # fmt: skip
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


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


_LABELLING = {*LABEL, *LABEL_OTHERWISE, *LABEL_NAMES, "votes", "candidates", "task"}
