"""Files of predictions: Parquet, CSV or JSON Lines, chosen by suffix, written and read as a stream.

Columns are the fields of Prediction; those with a default may be absent. Mappings such as votes and distributions are
lists of (label, number) structs in Parquet and JSON text in CSV. Missing values are null or empty.

    write_rows(Path("answers.parquet"), rows)
"""

from __future__ import annotations

import csv
import io
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_utf8, write_atomically
from emocaliber.core.predictions import Prediction, checked, to_line

KEYS = tuple(field.name for field in msgspec.structs.fields(Prediction))
_REQUIRED = frozenset(field.name for field in msgspec.structs.fields(Prediction) if field.required)
GROUP = 10_000
"""Rows per row group, and rows held in memory at a time."""
_NUMBERS = {
    "votes": ("count", pa.int64()),
    "distribution": ("share", pa.float64()),
    "second_votes": ("count", pa.int64()),
    "signals": ("value", pa.float64()),
}
_PLAIN: dict[str, tuple[type, Any]] = dict.fromkeys(
    ("confidence", "probability", "set_coverage", "doubt_people", "doubt_unfamiliar"), (float, pa.float64())
) | dict.fromkeys(("raters", "tokens", "questions"), (int, pa.int64()))
_LABELS, _HIDDEN = "prediction_set", "hidden"
_JSON = (*_NUMBERS, _LABELS)
_NULLABLE = ("truth", "predicted", "set_holds", "reason", _HIDDEN, *_PLAIN, *_JSON)
_TYPES = dict.fromkeys(KEYS, pa.string()) | {key: kind for key, (_, kind) in _PLAIN.items()} | {_HIDDEN: pa.binary()}
SCHEMA = pa.schema(
    _TYPES
    | {key: pa.list_(pa.struct([("label", pa.string()), (name, kind)])) for key, (name, kind) in _NUMBERS.items()}
    | {_LABELS: pa.list_(pa.string())}
)
LONGEST_HEADER = len(",".join(KEYS)) + 2


def write_rows(path: Path, rows: Iterable[Prediction]) -> None:
    """Write the file atomically. Raises ValueError for a suffix that is not in FORMATS."""
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: the name of a prediction file must end in {', '.join(FORMATS)}")
    write_atomically(path, FORMATS[path.suffix](rows))


def is_columnar(path: Path) -> bool:
    """Whether the file is Parquet or CSV with the columns that `write_rows` writes."""
    with open_utf8(path) as file:
        head = file.readline(LONGEST_HEADER)
    if not head.startswith(b"PAR1"):
        return _are_keys(head.rstrip(b"\r\n").decode(errors="replace").split(","))
    try:
        return _are_keys(pq.read_schema(path).names)
    except pa.ArrowException:
        return False


def _are_keys(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names) and set(KEYS) >= set(names) >= _REQUIRED


def parquet_rows(path: Path) -> int:
    """The number of prediction rows in a Parquet file; 0 for any other or missing file."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return 0
    return int(pq.read_metadata(path).num_rows) if is_columnar(path) else 0


def read_columnar(path: Path) -> Iterator[tuple[int, Prediction]]:
    """Each row with its number, counted from 1. Raises UserError naming file, row and key."""
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    records = _parquet_records(path) if is_parquet else _csv_records(path)
    for number, record in enumerate(records, 1):
        try:
            yield number, msgspec.convert(record, Prediction)
        except msgspec.ValidationError as problem:
            raise UserError(f"{path}, row {number}: {problem}; correct the file, or write it again") from None


def _parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        for batch in file.iter_batches(GROUP, use_threads=False):
            for record in batch.to_pylist():
                for key, (name, _) in _NUMBERS.items():
                    if record.get(key) is not None:
                        record[key] = {entry["label"]: entry[name] for entry in record[key]}
                yield record


def _csv_records(path: Path) -> Iterator[dict[str, Any]]:
    with open_utf8(path) as file:
        rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        for number, record in enumerate(rows, 1):
            values: dict[str, Any] = dict(record)
            for key in values.keys() & _NULLABLE:
                try:
                    values[key] = _parse_cell(key, values[key]) if values[key] else None
                except (ValueError, msgspec.DecodeError) as problem:
                    raise UserError(
                        f"{path}, row {number}, {key!r} is {values[key][:60]!r}: {problem}; correct the cell"
                    ) from None
            yield values


def _parse_cell(key: str, text: str) -> Any:
    """The value of a CSV cell. Raises ValueError or msgspec.DecodeError if it is malformed."""
    if key in _PLAIN:
        return _PLAIN[key][0](text)
    if key in _JSON:
        return msgspec.json.decode(text)
    return b64decode(text, validate=True) if key == _HIDDEN else text


def _json_lines(rows: Iterable[Prediction]) -> Iterator[bytes]:
    return map(to_line, rows)


def _csv(rows: Iterable[Prediction]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(KEYS)
    for row in rows:
        values = msgspec.structs.asdict(checked(row))
        for key in _JSON:
            values[key] = None if values[key] is None else msgspec.json.encode(values[key]).decode()
        values[_HIDDEN] = None if values[_HIDDEN] is None else b64encode(values[_HIDDEN]).decode()
        writer.writerow(values.values())
        if text.tell() > GROUP:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def _parquet(rows: Iterable[Prediction]) -> Iterator[bytes]:
    sink, remaining = _Sink(), iter(rows)
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        while records := [_arrow_record(row) for row in islice(remaining, GROUP)]:
            writer.write_table(pa.Table.from_pylist(records, SCHEMA))
            yield sink.take()
    yield sink.take()


def _arrow_record(row: Prediction) -> dict[str, Any]:
    values = msgspec.structs.asdict(checked(row))
    for key, (name, _) in _NUMBERS.items():
        if values[key] is not None:
            values[key] = [{"label": label, name: number} for label, number in values[key].items()]
    return values


class _Sink(io.RawIOBase):
    """A write-only buffer: `take` returns and clears what the Parquet writer has written so far."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._parts.append(bytes(content))
        self._length += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._length

    def take(self) -> bytes:
        content, self._parts = b"".join(self._parts), []
        return content


FORMATS: dict[str, Callable[[Iterable[Prediction]], Iterator[bytes]]] = {
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".csv": _csv,
}
"""The encoder for each suffix."""
