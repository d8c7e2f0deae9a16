"""Monitoring after release: do new predictions, with few or no labels, still come from where the reference came from?

Five streams, each a `DriftStream`: the labels that are answered, the confidence, the share of unreadable answers and,
of rows that have a label, the share of right answers and the calibration (correct minus confidence). The alarm is
raised where one has evidence of 5/α: whatever the number of looks, weeks and rows, the chance that it is ever raised
while nothing has changed is at most α. eval/results/monitor.md has the false alarms and how soon changes are found.

The promise needs a reference of the same kind as the rows to come (not the rows that a map was fitted on), rows in
the order in which they came, and labels for rows chosen at random, not for doubtful ones.

    monitor = Monitor.of_reference(labels, confidence, correct)
    monitor.update(ids, labels, confidence, correct)        # week after week; rows that it has seen are passed over
    monitor.alarms
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.counts import BoolArray, FloatArray, IntArray
from emocaliber.evaluation.drift import DriftStream

UNLABELLED = ("labels", "confidence", "unreadable")
LABELLED = ("accuracy", "calibration")
STREAMS = UNLABELLED + LABELLED
STEPS = 200
"""Confidences are told apart by steps of 1/200."""
BINS = 10
RARE = 0.02
"""The share of the p-values that is set aside for what the reference has not seen."""


@dataclass(frozen=True)
class Alarm:
    """A stream whose evidence reached the threshold: after how many of its rows (`raised`), from about which of them on
    it has changed (`since`, counted from 1, give or take 50), and how the row that raised it is called (`unit`)."""

    stream: str
    raised: int
    since: int
    unit: str


@dataclass
class Monitor:
    """The streams by name, what was seen of them, and the alarms. `alpha` is the chance of ever a false alarm; `names`
    the labels, by their place in the stream's pool; `units` the hashed names of the rows in each kind of stream."""

    alpha: float
    names: list[str]
    streams: dict[str, DriftStream]
    units: dict[str, set[int]] = field(default_factory=lambda: {"unlabelled": set(), "labelled": set()})
    alarms: list[Alarm] = field(default_factory=list)

    @property
    def threshold(self) -> float:
        """The evidence at which a stream raises the alarm."""
        return len(STREAMS) / self.alpha

    @classmethod
    def of_reference(
        cls,
        labels: Sequence[str | None],
        confidence: ArrayLike,
        correct: ArrayLike,
        *,
        clusters: Sequence[str] | None = None,
        alpha: float = 0.05,
    ) -> Monitor:
        """A monitor of n reference rows: the answered `labels` (n,), None for an unreadable answer, `confidence` (n,)
        in [0, 1] and `correct` (n,) of 0/1, NaN where unknown. Of rows that share a cluster the first alone counts.

        Raises ValueError for an alpha outside (0, 1), rows that differ in number, or fewer than two readable ones.
        """
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha:g}; give the chance of a false alarm, above 0 and below 1")
        names = [str(row) for row in range(len(labels))] if clusters is None else list(clusters)
        first = np.unique(np.array(names, dtype=object).astype(str), return_index=True)[1]
        rows = _Rows.of(labels, confidence, correct).take(np.sort(first))
        if rows.readable.sum() < 2:
            raise ValueError("fewer than two reference rows have a label and a confidence; nothing can be compared")
        given, counts = np.unique(rows.labels[rows.readable], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        monitor = cls(alpha, given[order].tolist(), {})
        for stream in STREAMS:
            levels = monitor._levels(stream, rows)
            size = {"labels": len(given), "confidence": STEPS + 1, "calibration": 2 * STEPS + 1}.get(stream, 2)
            pool = np.bincount(levels[levels >= 0], minlength=size)
            continuous = stream in {"confidence", "calibration"}
            edges = np.linspace(0, 1, BINS + 1) if continuous else _edges_of(pool)
            monitor.streams[stream] = DriftStream(pool, edges)
        return monitor

    def update(
        self, units: Sequence[str], labels: Sequence[str | None], confidence: ArrayLike, correct: ArrayLike
    ) -> int:
        """Take m rows in their order; `units` (m,) name their clusters, or ids. Returns how many were new.

        A unit counts once, and once more when it is met with a label for the first time.
        """
        rows = _Rows.of(labels, confidence, correct)
        if len(units) != rows.confidence.size:
            raise ValueError(f"units has {len(units)} rows, labels {rows.confidence.size}; give the same rows")
        digests = np.array([_digest(unit) for unit in units], np.uint64).reshape(-1, 1 + len(STREAMS))
        code = digests[:, 0].astype(np.int64)
        chance = (digests[:, 1:] >> np.uint64(11)) / float(1 << 53)
        fresh = self._fresh("unlabelled", code, np.ones(code.size, bool))
        labelled = self._fresh("labelled", code, ~np.isnan(rows.correct))
        for number, stream in enumerate(STREAMS):
            levels = self._levels(stream, rows)
            taken = np.flatnonzero((levels >= 0) & (fresh if stream in UNLABELLED else labelled))
            if taken.size:
                self._add(stream, levels[taken], chance[taken, number], [units[row] for row in taken])
        return int((fresh | labelled).sum())

    def p_value(self, stream: str) -> float:
        """Of one stream and all looks so far, adjusted for the number of streams."""
        return min(1.0, len(STREAMS) / self.streams[stream].peak)

    def _add(self, name: str, levels: IntArray, chance: FloatArray, units: list[str]) -> None:
        stream = self.streams[name]
        rows, looks = stream.rows, len(stream.evidence)
        stream.add(levels, chance)
        if any(alarm.stream == name for alarm in self.alarms):
            return
        for look, evidence in enumerate(stream.evidence[looks:], looks):
            if evidence >= self.threshold:
                seen = stream.looks[look]
                self.alarms.append(Alarm(name, seen, stream.starts[look] + 1, units[seen - rows - 1]))
                return

    def _fresh(self, kind: str, code: IntArray, candidate: BoolArray) -> BoolArray:
        """The rows of units that were not met yet, the first of each."""
        seen, fresh = self.units[kind], np.zeros(code.size, bool)
        for row in np.flatnonzero(candidate).tolist():
            if (unit := int(code[row])) not in seen:
                seen.add(unit)
                fresh[row] = True
        return fresh

    def _levels(self, stream: str, rows: _Rows) -> IntArray:
        """The level of each row in the stream's pool, -1 for a row that is not in the stream."""
        if stream == "labels":
            self.names += [
                name for name in dict.fromkeys(rows.labels[rows.readable].tolist()) if name not in self.names
            ]
            place = {name: code for code, name in enumerate(self.names)}
            return np.array([place.get(name, -1) for name in np.where(rows.readable, rows.labels, "")], np.int64)
        if stream == "unreadable":
            return (~rows.readable).astype(np.int64)
        known = rows.readable if stream == "confidence" else rows.readable & ~np.isnan(rows.correct)
        right, sure = np.nan_to_num(rows.correct), np.where(rows.readable, rows.confidence, 0.0)
        value = {"confidence": STEPS * sure, "accuracy": 1 - right, "calibration": STEPS * (1 + right - sure)}[stream]
        return np.where(known, np.round(value).astype(np.int64), -1)


@dataclass(frozen=True)
class _Rows:
    labels: np.ndarray[tuple[int], np.dtype[np.str_]]
    readable: BoolArray
    confidence: FloatArray
    correct: FloatArray

    @classmethod
    def of(cls, labels: Sequence[str | None], confidence: ArrayLike, correct: ArrayLike) -> _Rows:
        sure, right = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
        if not len(labels) == sure.size == right.size:
            raise ValueError(f"labels has {len(labels)} rows, confidence {sure.size}, correct {right.size}")
        readable = np.array([label is not None for label in labels], bool) & ~np.isnan(sure)
        if (wrong := readable & ~((sure >= 0) & (sure <= 1))).any():
            raise ValueError(f"confidence of row {int(np.argmax(wrong))} is {sure[np.argmax(wrong)]:g}; give 0 to 1")
        return cls(np.array(["" if name is None else str(name) for name in labels], str), readable, sure, right)

    def take(self, rows: IntArray) -> _Rows:
        return _Rows(self.labels[rows], self.readable[rows], self.confidence[rows], self.correct[rows])


def _edges_of(pool: IntArray) -> FloatArray:
    """A bin for each category, as wide as its share of the reference, and a narrow one for what is not among them."""
    share = np.cumsum(pool + 0.5) / (pool + 0.5).sum()
    return np.concatenate(([0.0], (1 - RARE) * share, [1.0]))


def _digest(unit: str) -> tuple[int, ...]:
    """A code of the unit, and a number for each stream that breaks its ties: always the same."""
    content = hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), digest_size=8 * (1 + len(STREAMS))).digest()
    return tuple(int.from_bytes(content[place : place + 8], "big") for place in range(0, len(content), 8))
