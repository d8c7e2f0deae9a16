"""Monitoring of prediction files: one batch of new rows after another is tested against a reference.

The state between batches is a JSON file of counts and hashed row ids; it holds no predictions. Processing a batch twice
changes nothing, so a cron job may safely run again. A row that came without a label counts once more when its label
arrives.

    report = monitor_files(Path("week-07.parquet"), Path("calibrate.parquet"), Path("monitor.json"))
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction, State
from emocaliber.evaluation.counts import FloatArray
from emocaliber.evaluation.drift import DriftStream
from emocaliber.evaluation.monitoring import STREAMS, Alarm, Monitor
from emocaliber.reading.foreign_outputs import is_table, read_lines
from emocaliber.reading.tables import RECOGNISED, Columns, read_table
from emocaliber.runs.scoring import parts

SCHEMA = 1
ALPHA = 0.05
ANY = "any"
"""The label of rows from a table that has no labels, only whether an answer was correct."""


class StoredStream(msgspec.Struct, frozen=True):
    """A `DriftStream` as JSON."""

    pool: list[int]
    edges: list[float]
    blocks: list[list[int]]
    closed: int
    kept: float
    rows: int
    peak: float
    evidence: list[float]
    starts: list[int]
    looks: list[int]


class Facts(msgspec.Struct, frozen=True):
    """A summary of some rows: shares and means, None where no row has the value."""

    rows: int
    unreadable: float | None
    mean_confidence: float | None
    labelled: int
    accuracy: float | None
    overconfidence: float | None
    labels: dict[str, float]


class StoredMonitor(msgspec.Struct, frozen=True):
    """The state file."""

    schema: int
    alpha: float
    reference: str
    reference_digest: str
    reference_facts: Facts
    names: list[str]
    streams: dict[str, StoredStream]
    units: dict[str, str]
    alarms: list[Alarm]
    batches: list[tuple[str, int]]


@dataclass(frozen=True)
class Monitored:
    """The result of a batch: the monitor after it, how many of its rows were new, and summaries of both sides."""

    monitor: Monitor
    state: Path
    new: int
    facts: Facts
    reference: Facts
    batches: int

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values, for `--json`."""
        alarms = {alarm.stream: msgspec.to_builtins(alarm) for alarm in self.monitor.alarms}
        streams = {
            name: {
                "rows": stream.rows,
                "evidence": stream.evidence[-1] if stream.evidence else 1.0,
                "peak": stream.peak,
                "p_value": self.monitor.p_value(name),
                "alarm": alarms.get(name),
            }
            for name, stream in self.monitor.streams.items()
        }
        sides = {"batch": msgspec.to_builtins(self.facts), "reference": msgspec.to_builtins(self.reference)}
        head = {"alarm": bool(alarms), "alpha": self.monitor.alpha, "threshold": self.monitor.threshold}
        return head | {"batches": self.batches, "new_rows": self.new, "streams": streams} | sides


def monitor_files(
    new: Path,
    reference: Path | None,
    state: Path,
    *,
    alpha: float | None = None,
    columns: Columns = RECOGNISED,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Monitored:
    """Add the batch `new` to the `state`, which the first call creates from the `reference`.

    Raises UserError for files that cannot be read, and for a state that was created with another reference or alpha.
    """
    batch = _columns_of(rows_of(new, columns))
    facts = _facts(batch)
    if state.exists():
        stored = _read_state(state, reference, alpha)
        monitor = _monitor_of(stored)
    else:
        if reference is None:
            raise UserError(f"{state} does not exist yet: the first time, give labelled predictions as --reference")
        on_progress(f"reading {reference.name}")
        known = _columns_of(rows_of(reference, columns, named=False))
        monitor = _made(known, reference, ALPHA if alpha is None else alpha)
        stored = _stored(monitor, str(reference), _digest_of(reference), _facts(known), [])
    on_progress(f"testing {new.name}")
    fresh = monitor.update(batch.units, batch.labels, batch.confidence, batch.correct)
    batches = [*stored.batches, (new.name, fresh)] if fresh else stored.batches
    saved = _stored(monitor, stored.reference, stored.reference_digest, stored.reference_facts, batches)
    write_atomically(state, [msgspec.json.encode(saved), b"\n"])
    return Monitored(monitor, state, fresh, facts, stored.reference_facts, len(batches))


def rows_of(path: Path, columns: Columns = RECOGNISED, *, named: bool = True) -> Iterable[Prediction]:
    """The rows of a prediction file, a folder of Parquet parts or a table, labelled or not, all of one method.

    Raises UserError naming file, row and key for a file with no rows or with several methods and, if rows must be
    `named`, for a table without ids.
    """
    rows: list[Prediction]
    if path.is_dir():
        rows = [row for part in parts(path) for row in read_lines(part, unlabelled=True)]
    elif is_table(path):
        table = read_table(path, columns, unlabelled=True)
        if named and table.numbered:
            raise UserError(
                f"{path} has no id column, which is needed to recognise rows of earlier batches; add one, or name yours"
                " with --id-column"
            )
        rows = table.rows
        if "prediction" not in table.columns:
            rows = [msgspec.structs.replace(row, predicted=_any_label(row), truth=_truth(row)) for row in rows]
    else:
        rows = list(read_lines(path, unlabelled=True, labels=columns.labels))
    if not rows:
        raise UserError(f"{path} holds no rows")
    if len(methods := sorted({row.method for row in rows})) > 1:
        raise UserError(
            f"{path} holds rows of several methods ({', '.join(methods)}), but a monitor watches one: put each into a"
            " file of its own, with a --state of its own"
        )
    return rows


def _any_label(row: Prediction) -> str | None:
    return None if row.predicted is None else ANY


def _truth(row: Prediction) -> str | None:
    """ANY if the answer was correct, which is all that such a table says."""
    return None if row.truth is None else (ANY if row.truth == row.predicted else "another")


@dataclass(frozen=True)
class _Batch:
    units: list[str]
    labels: list[str | None]
    confidence: FloatArray
    correct: FloatArray


def _columns_of(rows: Iterable[Prediction]) -> _Batch:
    listed = list(rows)
    usable = [row.state is State.OK for row in listed]
    return _Batch(
        [row.cluster or row.id for row in listed],
        [row.predicted if ok else None for row, ok in zip(listed, usable, strict=True)],
        np.array([np.nan if row.confidence is None else row.confidence for row in listed]),
        np.array([np.nan if row.truth is None else float(row.truth == row.predicted) for row in listed]),
    )


def _facts(batch: _Batch) -> Facts:
    readable = np.array([label is not None for label in batch.labels])
    labelled = readable & ~np.isnan(batch.correct)
    given, counts = np.unique(np.array([label for label in batch.labels if label is not None], str), return_counts=True)
    shares = {name: float(count) / max(int(readable.sum()), 1) for name, count in zip(given, counts, strict=True)}
    right, sure = batch.correct[labelled], batch.confidence[labelled]
    return Facts(
        readable.size,
        _mean((~readable).astype(np.float64)),
        _mean(batch.confidence[readable]),
        int(labelled.sum()),
        _mean(right),
        _mean(sure - right),
        dict(sorted(shares.items(), key=lambda pair: -pair[1])),
    )


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if values.size else None


def _made(known: _Batch, reference: Path, alpha: float) -> Monitor:
    try:
        return Monitor.of_reference(known.labels, known.confidence, known.correct, clusters=known.units, alpha=alpha)
    except ValueError as problem:
        raise UserError(f"{reference}: {problem}") from None


def _read_state(state: Path, reference: Path | None, alpha: float | None) -> StoredMonitor:
    try:
        stored = msgspec.json.decode(state.read_bytes(), type=StoredMonitor)
    except msgspec.DecodeError as problem:
        raise UserError(
            f"{state} is not a state file of `emocaliber monitor` ({problem}); give another --state"
        ) from None
    if reference is not None and _digest_of(reference) != stored.reference_digest:
        raise UserError(
            f"{state} was created with the reference {stored.reference}, and {reference} holds other rows; to start"
            " over give another --state"
        )
    if alpha is not None and alpha != stored.alpha:
        raise UserError(f"{state} was created with --alpha {stored.alpha:g}; to change it give another --state")
    return stored


def _digest_of(path: Path) -> str:
    content = hashlib.sha256()
    for file in parts(path) if path.is_dir() else [path]:
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                content.update(chunk)
    return content.hexdigest()


def _stored(
    monitor: Monitor, reference: str, digest: str, facts: Facts, batches: list[tuple[str, int]]
) -> StoredMonitor:
    streams = {
        name: StoredStream(
            one.pool.tolist(), one.edges.tolist(), [block.tolist() for block in one.blocks],
            one.closed, one.kept, one.rows, one.peak, one.evidence, one.starts, one.looks,
        )
        for name, one in monitor.streams.items()
    }  # fmt: skip
    units = {kind: _packed(codes) for kind, codes in monitor.units.items()}
    return StoredMonitor(
        SCHEMA, monitor.alpha, reference, digest, facts, monitor.names, streams, units, monitor.alarms, batches
    )


def _monitor_of(stored: StoredMonitor) -> Monitor:
    streams = {}
    for name in STREAMS:
        kept = stored.streams[name]
        blocks = [np.array(block, np.int64) for block in kept.blocks]
        streams[name] = DriftStream(
            np.array(kept.pool, np.int64), np.array(kept.edges), blocks,
            kept.closed, kept.kept, kept.rows, kept.peak, list(kept.evidence), list(kept.starts), list(kept.looks),
        )  # fmt: skip
    units = {
        kind: set(np.frombuffer(base64.b64decode(packed), "<i8").tolist()) for kind, packed in stored.units.items()
    }
    return Monitor(stored.alpha, list(stored.names), streams, units, list(stored.alarms))


def _packed(codes: set[int]) -> str:
    return base64.b64encode(np.array(sorted(codes), "<i8").tobytes()).decode()
