"""Drift monitoring after release: do new predictions, with few or no labels, still follow the reference distribution?

There are five streams, each a `DriftStream`: the predicted labels, the confidence, the rate of unreadable answers and,
for labelled rows, accuracy and calibration (correct minus confidence). An alarm is raised when the evidence of a stream
reaches 5/α. The probability of ever raising a false alarm is at most α, however often and for however long one looks.
For measured false alarm rates and detection delays see eval/results/monitor.md.

The guarantee assumes a reference from the same distribution as future rows (so not the rows that a map was fitted on),
rows in their order of arrival, and labels for randomly chosen rows, not for doubtful ones.

    monitor = Monitor.of_reference(labels, confidence, correct)
    monitor.update(ids, labels, confidence, correct)        # week after week; rows seen before are ignored
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
"""Confidences are rounded to multiples of 1/200."""
BINS = 10
RARE = 0.02
"""The width of the p-value bin reserved for categories that the reference does not contain."""


@dataclass(frozen=True)
class Alarm:
    """A stream whose evidence reached the threshold. `raised` is the number of its rows until then, `since` the
    estimated first row after the change (counted from 1, to within 50), and `unit` the row that raised the alarm."""

    stream: str
    raised: int
    since: int
    unit: str


@dataclass
class Monitor:
    """The streams by name, the rows seen so far, and the alarms. `alpha` bounds the probability of ever raising a false
    alarm; `names` are the labels in the order of their codes; `units` the hashed names of the rows seen by the
    unlabelled and the labelled streams."""

    alpha: float
    names: list[str]
    streams: dict[str, DriftStream]
    units: dict[str, set[int]] = field(default_factory=lambda: {"unlabelled": set(), "labelled": set()})
    alarms: list[Alarm] = field(default_factory=list)

    @property
    def threshold(self) -> float:
        """The evidence at which a stream raises an alarm."""
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
        """A monitor with n reference rows: the predicted `labels` (n,), None for an unreadable answer; `confidence`
        (n,) in [0, 1]; and `correct` (n,) of 0/1, NaN if unknown. Only the first row of each cluster counts.

        Raises ValueError for an alpha outside (0, 1), arrays of different lengths, or fewer than two readable rows.
        """
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha:g}; give the probability of a false alarm, above 0 and below 1")
        names = [str(row) for row in range(len(labels))] if clusters is None else list(clusters)
        first = np.unique(np.array(names, dtype=object).astype(str), return_index=True)[1]
        rows = _Rows.of(labels, confidence, correct).take(np.sort(first))
        if rows.readable.sum() < 2:
            raise ValueError("fewer than two reference rows have a label and a confidence; give a larger reference")
        distinct, counts = np.unique(rows.labels[rows.readable], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        monitor = cls(alpha, distinct[order].tolist(), {})
        for stream in STREAMS:
            levels = monitor._levels(stream, rows)
            size = {"labels": len(distinct), "confidence": STEPS + 1, "calibration": 2 * STEPS + 1}.get(stream, 2)
            pool = np.bincount(levels[levels >= 0], minlength=size)
            continuous = stream in {"confidence", "calibration"}
            edges = np.linspace(0, 1, BINS + 1) if continuous else _edges_of(pool)
            monitor.streams[stream] = DriftStream(pool, edges)
        return monitor

    def update(
        self, units: Sequence[str], labels: Sequence[str | None], confidence: ArrayLike, correct: ArrayLike
    ) -> int:
        """Add m rows in order of arrival; `units` (m,) are their clusters or ids. Returns the number of new rows.

        A unit counts once in the unlabelled streams, and once in the labelled streams when it first has a label.
        """
        rows = _Rows.of(labels, confidence, correct)
        if len(units) != rows.confidence.size:
            raise ValueError(f"units has {len(units)} rows, labels {rows.confidence.size}; give the same rows")
        digests = np.array([_digest(unit) for unit in units], np.uint64).reshape(-1, 1 + len(STREAMS))
        code = digests[:, 0].astype(np.int64)
        uniform = (digests[:, 1:] >> np.uint64(11)) / float(1 << 53)
        fresh = self._fresh("unlabelled", code, np.ones(code.size, bool))
        labelled = self._fresh("labelled", code, ~np.isnan(rows.correct))
        for number, stream in enumerate(STREAMS):
            levels = self._levels(stream, rows)
            new_rows = np.flatnonzero((levels >= 0) & (fresh if stream in UNLABELLED else labelled))
            if new_rows.size:
                self._add(stream, levels[new_rows], uniform[new_rows, number], [units[row] for row in new_rows])
        return int((fresh | labelled).sum())

    def p_value(self, stream: str) -> float:
        """The anytime-valid p-value of a stream so far, adjusted for the number of streams."""
        return min(1.0, len(STREAMS) / self.streams[stream].peak)

    def _add(self, name: str, levels: IntArray, uniform: FloatArray, units: list[str]) -> None:
        stream = self.streams[name]
        rows, looks = stream.rows, len(stream.evidence)
        stream.add(levels, uniform)
        if any(alarm.stream == name for alarm in self.alarms):
            return
        for look, evidence in enumerate(stream.evidence[looks:], looks):
            if evidence >= self.threshold:
                seen = stream.looks[look]
                self.alarms.append(Alarm(name, seen, stream.starts[look] + 1, units[seen - rows - 1]))
                return

    def _fresh(self, kind: str, code: IntArray, candidate: BoolArray) -> BoolArray:
        """Mask of the candidates whose unit is new, the first row of each; the units are marked as seen."""
        seen, fresh = self.units[kind], np.zeros(code.size, bool)
        for row in np.flatnonzero(candidate).tolist():
            if (unit := int(code[row])) not in seen:
                seen.add(unit)
                fresh[row] = True
        return fresh

    def _levels(self, stream: str, rows: _Rows) -> IntArray:
        """The level of each row in the stream's pool, -1 for a row that the stream does not include."""
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
            raise ValueError(
                f"labels has {len(labels)} rows, confidence {sure.size}, correct {right.size}; give the same rows"
            )
        readable = np.array([label is not None for label in labels], bool) & ~np.isnan(sure)
        if (wrong := readable & ~((sure >= 0) & (sure <= 1))).any():
            raise ValueError(f"confidence of row {int(np.argmax(wrong))} is {sure[np.argmax(wrong)]:g}; give 0 to 1")
        return cls(np.array(["" if name is None else str(name) for name in labels], str), readable, sure, right)

    def take(self, rows: IntArray) -> _Rows:
        return _Rows(self.labels[rows], self.readable[rows], self.confidence[rows], self.correct[rows])


def _edges_of(pool: IntArray) -> FloatArray:
    """Bin edges: a bin for each category, as wide as its share of the reference, and a narrow one for new
    categories."""
    share = np.cumsum(pool + 0.5) / (pool + 0.5).sum()
    return np.concatenate(([0.0], (1 - RARE) * share, [1.0]))


def _digest(unit: str) -> tuple[int, ...]:
    """A hash of the unit, and for each stream a deterministic pseudo-random number to break ties."""
    content = hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), digest_size=8 * (1 + len(STREAMS))).digest()
    return tuple(int.from_bytes(content[place : place + 8], "big") for place in range(0, len(content), 8))
