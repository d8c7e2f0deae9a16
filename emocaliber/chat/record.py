"""The record: how often a model was right on pictures it was not trained on, by the confidence it stated.

Counts, and two questions to them. They stand beside an adapter as `calibration.json`, or are counted from a prediction
file of held-out rows, or from a finished run, of which only the rows that stage 3 held out count: what the model states
about the others, it was trained to state.

    emocaliber chat --model DIR --adapter RUN/3-calibrate/adapter --calibration RUN
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Count, Prediction, Share, State, read_predictions
from emocaliber.stages.clusters import fresh_rows, read_trained_clusters

FILE, ADAPTER = "calibration.json", "adapter"
LEAST_ANSWERS = 50
"""A share among fewer answers than this would look more certain than it is: neighbouring confidences are added."""
ROUNDING = 1e-9


class Stated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stated confidence: how many answers stated it, and how many of them were right."""

    confidence: Share
    answers: Count
    right: Count


class SimilarAnswers(msgspec.Struct, frozen=True):
    """Answers that stated from `low` to `high` on pictures of `task`: how many, and how many of them were right."""

    task: str
    right: int
    answers: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Share of right answers, in [0, 1]."""
        return self.right / self.answers


class Selection(msgspec.Struct, frozen=True):
    """What a threshold meant: of `pictures` of `task`, the share whose answer is trusted, and the share of right
    answers among these (None where there are none)."""

    task: str
    pictures: int
    coverage: float
    accuracy: float | None


class TaskRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The counts of one task. `labels` are sorted; `refused` rows had no usable label or confidence."""

    task: str
    labels: tuple[str, ...]
    stated: tuple[Stated, ...]
    refused: Count

    def similar(self, confidence: float) -> SimilarAnswers | None:
        """The answers that stated this confidence, with those of the nearest values until there are LEAST_ANSWERS. None
        if the record has no answer."""
        nearest = sorted(self.stated, key=lambda row: (abs(row.confidence - confidence), row.confidence))
        taken: list[Stated] = []
        for row in nearest:
            is_farther = taken and abs(row.confidence - confidence) > abs(taken[-1].confidence - confidence) + ROUNDING
            if is_farther and sum(each.answers for each in taken) >= LEAST_ANSWERS:
                break
            taken.append(row)
        answers = sum(row.answers for row in taken)
        if not answers:
            return None
        values = [row.confidence for row in taken]
        return SimilarAnswers(self.task, sum(row.right for row in taken), answers, min(values), max(values))

    def selection(self, threshold: float) -> Selection:
        """The effect of trusting every answer that states at least `threshold` on these pictures."""
        trusted = [row for row in self.stated if row.confidence >= threshold - ROUNDING]
        answers, right = sum(row.answers for row in trusted), sum(row.right for row in trusted)
        pictures = sum(row.answers for row in self.stated) + self.refused
        return Selection(
            self.task, pictures, answers / pictures if pictures else 0.0, right / answers if answers else None
        )


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The counts of all evaluated tasks."""

    tasks: tuple[TaskRecord, ...] = ()

    def task_with(self, labels: Sequence[str]) -> TaskRecord | None:
        """The task with these labels, in any order; None if no such task was evaluated."""
        return next((task for task in self.tasks if task.labels == tuple(sorted(labels))), None)


def record_of(rows: Iterable[Prediction]) -> Record:
    """Count prediction rows. The labels of a task are those that occur in its rows, as truth or as answer."""
    labels: dict[str, set[str]] = defaultdict(set)
    answers: dict[str, dict[float, list[bool]]] = defaultdict(lambda: defaultdict(list))
    refused: dict[str, int] = defaultdict(int)
    for row in rows:
        labels[row.task] |= {label for label in (row.truth, row.predicted) if label is not None}
        if row.state is not State.OK or row.confidence is None:
            refused[row.task] += 1
        else:
            answers[row.task][row.confidence].append(row.predicted == row.truth)
    return Record(
        tuple(
            TaskRecord(
                task,
                tuple(sorted(labels[task])),
                tuple(Stated(value, len(right), sum(right)) for value, right in sorted(answers[task].items())),
                refused[task],
            )
            for task in sorted(labels)
        )
    )


def read_record(path: Path) -> Record:
    """A finished run's folder, a `calibration.json`, or a prediction file (.jsonl) of held-out rows.

    Raises UserError naming the file.
    """
    if path.is_dir():
        return record_of(held_out_rows(path))
    if path.suffix == ".jsonl":
        return record_of(read_predictions(path))
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: {problem}; give a {FILE} or a prediction file ending in .jsonl") from None
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None


def write_record(path: Path, record: Record) -> None:
    """Write a `calibration.json` atomically."""
    write_atomically(path, [msgspec.json.format(msgspec.json.encode(record), indent=1), b"\n"])


def held_out_rows(run: Path) -> list[Prediction]:
    """The answers of stage 3 of `emocaliber run ... --out RUN` on the calibration pictures that it was not trained on.

    They are selected by the clusters that stage 3 recorded, and checked against the number of rows that the run
    recorded. Raises UserError naming the file if one is missing or they contradict each other.
    """
    done, predicted = run / "3-calibrate" / "done.json", run / "predictions" / "stage-3" / "stated.calibrate.jsonl"
    try:
        result = json.loads(done.read_text(encoding="utf-8"))["result"]
        least = int(result["held_out"])
        most = least + int(result["unreadable"])
    except OSError as problem:
        reason = f"no finished stage 3 ({problem.strerror})"
        raise UserError(f"{done}: {reason}; give the folder of a finished run, or a {FILE}") from None
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{done}: {problem!r} is not as stage 3 writes it; run `emocaliber run` again") from None
    held_out = fresh_rows(read_predictions(predicted), read_trained_clusters(run / "3-calibrate" / ADAPTER))
    if not least <= len(held_out) <= most:
        raise UserError(
            f"{predicted}: {len(held_out)} rows belong to the held-out clusters, but {done} notes {least} of them;"
            " both must come from the same run"
        )
    return held_out
