"""A review: people look at some rows of a set of predictions, and the finished set is right enough with a guarantee.

First a random sample is answered, then every row whose label the sample did not vouch for (emocaliber.evaluation
.pac_labels says which). The folder holds what was drawn, before anything was answered, and each answer from the moment
it was given, so that a review goes on where it was after any end. Its files: see review_files; what comes of it: see
review_result.

    review = start_review(Path("out/review"), Path("answers.parquet"), ReviewSettings(error=0.05, certainty=0.95))
    review.answer({"0001.jpg": "joy"})
    review.queue()          # what to look at next
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation.pac_labels import BoolArray, IntArray, kept_rows, most_confident_first, plan_review
from emocaliber.reading.tables import RECOGNISED, Columns
from emocaliber.runs.review_journal import AnswerJournal, known_label
from emocaliber.runs.review_rows import Item, item_of, labels_by_task, read_rows

RECORD, ANSWERS = "review.json", "answers.jsonl"


class Phase(StrEnum):
    """What is being answered."""

    SAMPLE = "sample"
    REST = "rest"
    DONE = "done"


@dataclass(frozen=True)
class ReviewSettings:
    """What is promised: at most `error` of the finished set wrong with a probability of at least `certainty`. `labels`
    are those of every row (None: what the rows name); `sample` and `seed` None: the best size, and chance."""

    error: float
    certainty: float
    labels: tuple[str, ...] | None = None
    sample: int | None = None
    seed: int | None = None
    pictures: tuple[str, ...] = ()
    columns: Columns = RECOGNISED


class ReviewRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was drawn and promised before anything was answered; `fingerprint` is that of the predictions."""

    predictions: str
    fingerprint: str
    error: float
    certainty: float
    certainty_reached: float
    rows: int
    drawable: int
    left: int
    allowed: int
    expected_work: int
    seed: int
    started: str
    labels: list[str] | None
    pictures: list[str]
    sample: list[str]
    columns: Columns = RECOGNISED


@dataclass
class Review:
    """The state of a review. `rows` by id, in the order of their file; `answers` by id: UNCLEAR counts as a mistake of
    the model, and the finished set has no label there."""

    folder: Path
    record: ReviewRecord
    rows: dict[str, Prediction]
    answers: dict[str, str] = field(default_factory=dict)

    @cached_property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The labels to choose from, by task."""
        return labels_by_task(self.rows.values(), self.record.labels)

    @cached_property
    def drawn(self) -> frozenset[str]:
        """The ids of the sample."""
        return frozenset(self.record.sample)

    @property
    def phase(self) -> Phase:
        """Whether the sample, the rest, or nothing is left to answer."""
        if any(name not in self.answers for name in self.record.sample):
            return Phase.SAMPLE
        return Phase.REST if self._unanswered() else Phase.DONE

    def kept(self) -> dict[str, bool]:
        """Of each row with a model's label that nobody had checked: whether the label is kept, once the sample is
        answered. Sampled rows among them have a person's label all the same."""
        names = [name for name, row in self.rows.items() if is_drawable(row)]
        wrong = [name in self.drawn and self.answers[name] != self.rows[name].predicted for name in names]
        kept: BoolArray = kept_rows(_order([self.rows[name] for name in names], self.record.seed), wrong,
                                    self.record.allowed)  # fmt: skip
        return dict(zip(names, kept.tolist(), strict=True))

    def queue(self) -> list[Item]:
        """What to answer now. The sample in the order it was drawn, without the model's label, which would colour the
        answers; the rest by reason, the most doubtful first."""
        if self.phase is Phase.SAMPLE:
            names = [name for name in self.record.sample if name not in self.answers]
            return [item_of(self.rows[name], self.labels, blind=True) for name in names]
        return sorted(
            (item_of(self.rows[name], self.labels, blind=False) for name in self._unanswered()), key=Item.place
        )

    def answer(self, given: Mapping[str, str | None], where: str = "answers") -> int:
        """Keep answers on the disk; None takes one back. Returns how many were new. Raises UserError, and keeps none,
        for a row or a label that is not of this review."""
        news = {name: self._checked(name, label, where) for name, label in given.items()}
        news = {name: label for name, label in news.items() if self.answers.get(name) != label}
        AnswerJournal(self.folder / ANSWERS).append(news)
        for name, label in news.items():
            if label is None:
                del self.answers[name]
            else:
                self.answers[name] = label
        return len(news)

    def _checked(self, name: str, label: str | None, where: str) -> str | None:
        row = self.rows.get(name)
        if row is None:
            raise UserError(f"{where}: there is no row {name!r} in {self.record.predictions}"
                            f"{did_you_mean(name, self.rows)}")  # fmt: skip
        if row.truth is not None:
            raise UserError(f"{where}: row {name!r} has the label {row.truth!r} already, and is not in question")
        return None if label is None else known_label(label, self.labels[row.task], f"{where}: row {name!r}")

    def _unanswered(self) -> list[str]:
        kept = self.kept()
        return [
            name
            for name, row in self.rows.items()
            if row.truth is None and name not in self.answers and not kept.get(name, False)
        ]


def is_drawable(row: Prediction) -> bool:
    """Whether the row has a model's label that no person has checked."""
    return row.truth is None and row.predicted is not None


def start_review(folder: Path, predictions: Path, settings: ReviewSettings) -> Review:
    """Draw the sample and write it down. Raises UserError where nothing is to be reviewed, or the folder holds a review
    of something else."""
    if (folder / RECORD).exists():
        return _continued(folder, predictions, settings)
    rows = read_rows(predictions, settings.columns)
    candidates = [row for row in rows.values() if is_drawable(row)]
    if all(row.truth is not None for row in rows.values()):
        raise UserError(
            f"{predictions}: every row has a label already; `--simulate` says what a review would have saved, and"
            " `emocaliber score` how right the model is"
        )
    labels_by_task(rows.values(), settings.labels)
    plan = plan_review(
        [row.confidence or 0.0 for row in candidates],
        error=settings.error,
        certainty=settings.certainty,
        settled=len(rows) - len(candidates),
        sample=settings.sample,
    )
    seed = secrets.randbits(63) if settings.seed is None else settings.seed
    drawn = np.random.default_rng([seed, 1]).choice(len(candidates), plan.sample, replace=False)
    record = ReviewRecord(
        str(predictions.resolve()),
        fingerprint(rows.values()),
        settings.error,
        settings.certainty,
        plan.certainty,
        plan.rows,
        plan.drawable,
        plan.left,
        plan.allowed,
        plan.expected_work,
        seed,
        datetime.now(UTC).isoformat("T", "seconds"),
        None if settings.labels is None else list(settings.labels),
        [str(Path(name).resolve()) if Path(name).exists() else name for name in settings.pictures],
        [candidates[index].id for index in drawn],
        settings.columns,
    )
    write_atomically(folder / RECORD, [msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"])
    return Review(folder, record, rows)


def open_review(folder: Path) -> Review:
    """The review that a folder holds. Raises UserError where it holds none, or its predictions were changed."""
    record = read_record(folder)
    predictions = Path(record.predictions)
    return _checked_review(folder, record, predictions, read_rows(predictions, record.columns))


def read_record(folder: Path) -> ReviewRecord:
    """What was drawn and promised. Raises UserError where the folder holds no review."""
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{folder}: there is no review here; `emocaliber review PREDICTIONS --out {folder}` starts one")
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReviewRecord)
    except msgspec.DecodeError as problem:
        raise UserError(f"{path}: {problem}; restore the file, or start a review in another folder") from None


def _continued(folder: Path, predictions: Path, settings: ReviewSettings) -> Review:
    record = read_record(folder)
    promised, asked = (record.error, record.certainty), (settings.error, settings.certainty)
    if promised != asked:
        raise UserError(
            f"{folder}: the sample was drawn for --error {promised[0]:g} --certainty {promised[1]:g}; another promise"
            " needs a sample that nobody has seen: name another --out"
        )
    return _checked_review(folder, record, predictions, read_rows(predictions, record.columns))


def _checked_review(folder: Path, record: ReviewRecord, predictions: Path, rows: dict[str, Prediction]) -> Review:
    if fingerprint(rows.values()) != record.fingerprint:
        raise UserError(
            f"{predictions}: these are not the predictions that {folder} reviews (started {record.started}); restore"
            " them, or start a new review in another --out"
        )
    return Review(folder, record, rows, AnswerJournal(folder / ANSWERS).read())


def fingerprint(rows: Iterable[Prediction]) -> str:
    """A hash of what a review rests on: ids, labels and confidences, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.id, row.predicted, row.confidence, row.truth]).encode())
    return digest.hexdigest()


def _order(rows: Sequence[Prediction], seed: int) -> IntArray:
    """From the surest down; equal confidences by the token probability, where there is one."""
    return most_confident_first(
        [-1.0 if row.confidence is None else row.confidence for row in rows],
        seed,
        [np.nan if row.probability is None else row.probability for row in rows],
    )
