"""The record: how often a model was right on rows that it was not trained on, by what it stated. Plain sentences rest
on it.

Not a metric and not a map from confidence to probability: counts, and two questions to them. The counts stand beside
an adapter as `calibration.json`, or come from any prediction file of held-out rows, or from a run (see run_record).

    emocaliber chat --calibration FILE
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Count, Prediction, Share, State, read_predictions
from emocaliber.evaluation.counts import Counts, count_rows
from emocaliber.evaluation.trusted import trusted_at

FILE = "calibration.json"
LEAST_ROWS = 50
"""A share of fewer rows than this would be told with more certainty than it has: neighbouring values join in."""


class Stated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stated confidence: how many answers stated it, and how many of them were right."""

    confidence: Share
    answers: Count
    right: Count


class Likeness(msgspec.Struct, frozen=True):
    """The answers most like one: `right` of `answers`, which stated from `low` to `high`."""

    right: int
    answers: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Share of right answers, in [0, 1]."""
        return self.right / self.answers


class Selection(msgspec.Struct, frozen=True):
    """What a threshold means: of `pictures`, the share that is trusted, and of right answers among these (or None)."""

    pictures: int
    coverage: float
    accuracy: float | None


class TaskRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task's counts. `labels` are the candidates, sorted; `refused` rows had no usable label or confidence."""

    task: str
    labels: tuple[str, ...]
    stated: tuple[Stated, ...]
    refused: Count

    def like(self, confidence: float) -> Likeness | None:
        """The answers that stated this confidence, widened to the nearest values until they are LEAST_ROWS.

        None where the record holds no answer.
        """
        nearest = sorted(self.stated, key=lambda one: (abs(one.confidence - confidence), one.confidence))
        taken: list[Stated] = []
        for one in nearest:
            distance = abs(one.confidence - confidence)
            if sum(o.answers for o in taken) >= LEAST_ROWS and distance > abs(taken[-1].confidence - confidence) + 1e-9:
                break
            taken.append(one)
        if not taken:
            return None
        values = [one.confidence for one in taken]
        return Likeness(sum(o.right for o in taken), sum(o.answers for o in taken), min(values), max(values))

    def at(self, threshold: float) -> Selection:
        """What trusting every answer that states at least `threshold` meant on these rows."""
        counts = trusted_at(self._counts(), threshold - 1e-9)
        trusted = float(counts.right_trusted + counts.wrong_trusted)
        pictures = sum(one.answers for one in self.stated) + self.refused
        return Selection(pictures, float(counts.coverage), float(counts.right_trusted) / trusted if trusted else None)

    def _counts(self) -> Counts:
        confidence = np.repeat([one.confidence for one in self.stated], [one.answers for one in self.stated])
        correct = [value for o in self.stated for value in (1,) * o.right + (0,) * (o.answers - o.right)]
        return count_rows(confidence, correct, invalid=self.refused)


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The counts of all tasks that were measured."""

    tasks: tuple[TaskRecord, ...] = ()

    def of(self, candidates: Sequence[str]) -> TaskRecord | None:
        """The task with these candidates, in any order; None where answers among them were never judged."""
        wanted = tuple(sorted(candidates))
        return next((one for one in self.tasks if one.labels == wanted), None)


def record_of(rows: Iterable[Prediction]) -> Record:
    """Count prediction rows. A task's candidates are the labels that its rows hold, as truth or as answer."""
    labels: dict[str, set[str]] = defaultdict(set)
    counts: dict[str, dict[float, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    refused: dict[str, int] = defaultdict(int)
    for row in rows:
        labels[row.task] |= {row.truth} | ({row.predicted} if row.predicted is not None else set())
        if row.state is not State.OK or row.confidence is None:
            refused[row.task] += 1
            continue
        counts[row.task][row.confidence][0] += 1
        counts[row.task][row.confidence][1] += row.predicted == row.truth
    return Record(
        tuple(
            TaskRecord(
                task,
                tuple(sorted(labels[task])),
                tuple(Stated(value, *found) for value, found in sorted(counts[task].items())),
                refused[task],
            )
            for task in sorted(labels)
        )
    )


def read_record(path: Path) -> Record:
    """A `calibration.json`, or a prediction file (.jsonl) that is counted. Raises UserError naming the file."""
    if path.suffix == ".jsonl":
        return record_of(read_predictions(path))
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError as problem:
        raise UserError(f"{path}: {problem}; give a {FILE} or a prediction file ending in .jsonl") from None
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None


def write_record(path: Path, record: Record) -> None:
    """Write a `calibration.json`, whole or not at all."""
    write_atomically(path, [msgspec.json.format(msgspec.json.encode(record), indent=1), b"\n"])
