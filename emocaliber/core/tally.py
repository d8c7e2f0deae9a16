"""Tallies: prediction rows of Parquet files, counted while streaming, so that 10⁸ rows can be scored.

Identical rows (method, task, group, labels, state, source, confidence) become one row of the table, with their number
as its weight. If rows have clusters, each cluster is assigned to one of UNITS groups by a hash of its name, and rows
are identical only within a group; the groups are then resampled in place of clusters.

Votes, distributions and token probabilities are not read, and ids are not checked for duplicates.

    tables, notes = tally([Path("answers/part-0.parquet"), Path("answers/part-1.parquet")])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emocaliber.core.errors import UserError
from emocaliber.core.prediction_table import SOURCES, STATES, Categorical, PredictionTable
from emocaliber.core.predictions import Source, State

UNITS = 256
"""The number of groups of clusters, which are resampled in place of clusters."""
BATCH = 1 << 19
"""Rows in memory at a time."""
MOST_CONFIDENCES = 20_000
DECIMALS = 4
"""If there are more than MOST_CONFIDENCES distinct confidences, all are rounded to DECIMALS, and a note says so."""
NAMES = ("method", "task", "group", "truth", "predicted", "state", "source")
LINE_BITS, CONFIDENCE_BITS, UNIT_BITS = 24, 26, 8
Progress = Callable[[str], None]
Codes = NDArray[np.int64]


class _ClusteredError(Exception):
    """A row has a cluster, but the tally assumed that none has."""


def tally(
    paths: Sequence[Path], on_progress: Progress = lambda _: None
) -> tuple[dict[str, PredictionTable], list[str]]:
    """A weighted table per method, and notes for the reader of the results. Raises UserError naming file and row."""
    try:
        counted = _Tally(clusters=False)
        counted.read(paths, on_progress)
    except _ClusteredError:
        counted = _Tally(clusters=True)
        counted.read(paths, on_progress)
    return counted.tables(), counted.notes()


@dataclass
class _Tally:
    """A tally under construction. `lines` are the distinct combinations of NAMES. A key packs the code of a line, the
    code of a confidence (0 for none) and the unit into one integer."""

    clusters: bool
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    confidences: dict[float, int] = field(default_factory=dict)
    keys: Codes = field(default_factory=lambda: np.empty(0, np.int64))
    weights: Codes = field(default_factory=lambda: np.empty(0, np.int64))
    rounded: bool = False
    rows: int = 0
    unlabelled: int = 0
    _pending: list[tuple[Codes, Codes]] = field(default_factory=list)

    def read(self, paths: Sequence[Path], on_progress: Progress) -> None:
        """Count the rows of these files."""
        for path in paths:
            columns = [*NAMES, "confidence", "id", "cluster"]
            with pq.ParquetFile(path, read_dictionary=[*NAMES], buffer_size=1 << 20, pre_buffer=False) as file:
                first = 1
                for batch in file.iter_batches(BATCH, columns=columns, use_threads=False):
                    self._add(path, first, batch)
                    first += batch.num_rows
                    on_progress(f"reading {path.name}: {self.rows:,} rows")
        self._merge()

    def _add(self, path: Path, first: int, batch: pa.RecordBatch) -> None:
        labelled = batch.column("truth").is_valid()
        self.unlabelled += batch.num_rows - labelled.true_count
        lines = self._lines(batch)
        confidence = np.asarray(batch.column("confidence").to_numpy(zero_copy_only=False), np.float64)
        _refuse_invalid(path, first, batch, confidence)
        keys = (lines << CONFIDENCE_BITS | self._confidences(confidence)) << UNIT_BITS | self._units(batch)
        self._pending.append(np.unique(keys[np.asarray(labelled)], return_counts=True))
        if sum(own.size for own, _ in self._pending) > max(self.keys.size, 2 * BATCH):
            self._merge()
        self.rows += labelled.true_count

    def _lines(self, batch: pa.RecordBatch) -> Codes:
        """The code of each row's combination of NAMES, (rows,)."""
        columns = [batch.column(name) for name in NAMES]
        combined, sizes = np.zeros(batch.num_rows, np.int64), [len(column.dictionary) + 1 for column in columns]
        for column, size in zip(columns, sizes, strict=True):
            indices = pc.fill_null(column.indices, size - 1)
            combined = combined * size + np.asarray(indices, np.int64)
        distinct, place = np.unique(combined, return_inverse=True)
        codes = []
        for combination in distinct.tolist():
            names, left = list[str](), combination
            for column, size in zip(reversed(columns), reversed(sizes), strict=True):
                left, index = divmod(left, size)
                names.append("" if index == size - 1 else column.dictionary[index].as_py())
            codes.append(self.lines.setdefault(tuple(reversed(names)), len(self.lines)))
        if len(self.lines) >= 1 << LINE_BITS:
            raise UserError(f"more than {1 << LINE_BITS:,} combinations of task, group and labels; score fewer files")
        return np.array(codes, np.int64)[place]

    def _confidences(self, confidence: NDArray[np.float64]) -> Codes:
        stated = ~np.isnan(confidence)
        values, place = np.unique(confidence[stated], return_inverse=True)
        if not self.rounded and len(self.confidences) + values.size > MOST_CONFIDENCES:
            self._round()
        if self.rounded:
            values = values.round(DECIMALS)
        codes = np.zeros(confidence.size, np.int64)
        known = [self.confidences.setdefault(value, len(self.confidences) + 1) for value in values.tolist()]
        codes[stated] = np.array(known, np.int64)[place]
        return codes

    def _round(self) -> None:
        """Round confidences from now on, and those already counted."""
        before, self.confidences, self.rounded = self.confidences, {}, True
        self._merge()
        place = np.zeros(len(before) + 1, np.int64)
        for value, code in before.items():
            place[code] = self.confidences.setdefault(round(value, DECIMALS), len(self.confidences) + 1)
        codes = self.keys >> UNIT_BITS & (1 << CONFIDENCE_BITS) - 1
        self.keys += (place[codes] - codes) << UNIT_BITS

    def _units(self, batch: pa.RecordBatch) -> Codes | int:
        """The unit of each row; 0 for all if there are no clusters."""
        cluster, name = batch.column("cluster"), batch.column("id")
        own = pc.or_(pc.equal(cluster, ""), pc.equal(cluster, name))
        if not self.clusters:
            if pc.all(own).as_py() is False:
                raise _ClusteredError
            return 0
        return (_hashed(pc.if_else(pc.equal(cluster, ""), name, cluster)) % UNITS).astype(np.int64)

    def _merge(self) -> None:
        keys, weights = zip((self.keys, self.weights), *self._pending, strict=True)
        self.keys, place = np.unique(np.concatenate(keys), return_inverse=True)
        self.weights = np.bincount(place, np.concatenate(weights)).astype(np.int64)
        self._pending = []

    def tables(self) -> dict[str, PredictionTable]:
        """The weighted table of each method, in order of first appearance."""
        names = np.array([*self.lines], dtype=object)
        line = self.keys >> UNIT_BITS + CONFIDENCE_BITS
        values = np.array([np.nan, *self.confidences])[self.keys >> UNIT_BITS & (1 << CONFIDENCE_BITS) - 1]
        units = (self.keys & (1 << UNIT_BITS) - 1).astype(np.int32)
        methods = np.array([name[0] for name in self.lines], dtype=object)
        return {
            method: self._table(method, names, line[own], values[own], units[own], self.weights[own])
            for method in dict.fromkeys(methods.tolist())
            if (own := methods[line] == method).any()
        }

    def _table(
        self,
        method: str,
        names: NDArray[np.object_],
        line: Codes,
        confidence: NDArray[np.float64],
        units: NDArray[np.int32],
        weights: Codes,
    ) -> PredictionTable:
        columns = dict(zip(NAMES, names[np.unique(line)].T, strict=True))
        labels = sorted({*columns["truth"].tolist(), *columns["predicted"].tolist()} - {""})
        place = np.searchsorted(np.unique(line), line)

        def codes(name: str, among: Sequence[str]) -> NDArray[np.int32]:
            known = {value: code for code, value in enumerate(among)}
            return np.array([known.get(value, -1) for value in columns[name].tolist()], np.int32)[place]

        tasks, groups = (tuple(dict.fromkeys(columns[name].tolist())) for name in ("task", "group"))
        return PredictionTable(
            method,
            np.arange(line.size).astype(np.dtypes.StringDType()),
            Categorical(codes("task", tasks), tasks),
            Categorical(codes("group", groups), groups),
            units if self.clusters else np.arange(line.size, dtype=np.int32),
            tuple(labels),
            codes("truth", labels),
            codes("predicted", labels),
            confidence,
            codes("state", [state.value for state in STATES]).astype(np.int8),
            codes("source", [source.value for source in SOURCES]).astype(np.int8),
            np.full(line.size, np.nan),
            None,
            None,
            weight=weights,
        )

    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        notes = [
            f"{self.rows:,} rows were counted while streaming, as {self.keys.size:,} distinct rows: votes,"
            " distributions and token probabilities were not read, and ids were not checked for duplicates"
        ]
        if self.clusters:
            notes.append(
                f"rows have clusters: intervals resample {UNITS} groups of clusters, formed by a hash of their names"
            )
        if self.rounded:
            notes.append(f"more than {MOST_CONFIDENCES:,} different confidences: rounded to {DECIMALS} places")
        if self.unlabelled:
            notes.append(f"{self.unlabelled:,} rows have no label and are not scored")
        return notes


def _refuse_invalid(path: Path, first: int, batch: pa.RecordBatch, confidence: NDArray[np.float64]) -> None:
    """Raises UserError for the first row that is not a valid prediction."""
    ok = np.asarray(pc.equal(batch.column("state").cast(pa.string()), State.OK.value).fill_null(False))
    unread = np.asarray(batch.column("predicted").is_null()) | np.isnan(confidence)
    outside = ~np.isnan(confidence) & ~((confidence >= 0) & (confidence <= 1))
    for wrong, reason in (
        (
            ok & unread,
            "its state is 'ok', but 'predicted' or 'confidence' is null; name the state that says what is missing",
        ),
        (outside, "'confidence' must be from 0 to 1 (85 % is 0.85)"),
    ):
        if wrong.any():
            raise UserError(f"{path}, row {first + int(np.argmax(wrong))}: {reason}")
    for name, allowed in (("state", State), ("source", Source)):
        known = {value.value for value in allowed}
        if unknown := [value for value in batch.column(name).dictionary.to_pylist() if value not in known]:
            raise UserError(f"{path}: {name} {unknown[0]!r} is not one of {', '.join(sorted(known))}")


def _hashed(names: pa.Array) -> NDArray[np.uint64]:
    """FNV-1a of each string, (n,), with the high bits folded onto the low ones."""
    _, offsets_buffer, data_buffer = names.cast(pa.large_string()).buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[names.offset : names.offset + len(names) + 1]
    data = np.frombuffer(data_buffer or b"\0", np.uint8)
    starts, lengths = offsets[:-1], np.diff(offsets)
    values = np.full(len(names), 0xCBF29CE484222325, np.uint64)
    for position in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > position)
        values[longer] = (values[longer] ^ data[starts[longer] + position]) * np.uint64(0x100000001B3)
    return np.asarray(values ^ (values >> np.uint64(32)))
