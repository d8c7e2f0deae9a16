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

import secrets
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation.pac_labels import BoolArray, IntArray, kept_rows, most_confident_first, plan_review
from emocaliber.runs.review_answers import Returned, read_answers
from emocaliber.runs.review_journal import AnswerJournal, known_label
from emocaliber.runs.review_record import (
    RECORD,
    ReviewRecord,
    ReviewSettings,
    changed,
    fingerprint,
    read_record,
    write_record,
)
from emocaliber.runs.review_rows import Item, item_of, labels_by_task, read_rows

ANSWERS = "answers.jsonl"


class Phase(StrEnum):
    """What is being answered."""

    SAMPLE = "sample"
    REST = "rest"
    DONE = "done"


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
        return labels_by_task(self.rows.values(), self.record.labels, self.record.predictions)

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

    def answer(
        self, given: Mapping[str, str | None], where: str = "answers", places: Mapping[str, str] | None = None
    ) -> int:
        """Keep answers on the disk; None takes one back. Returns how many were new. `places` says where in a file each
        stands. Raises UserError, and keeps none, for a row or a label that is not of this review."""
        news = self.check(given, where, places)
        news = {name: label for name, label in news.items() if self.answers.get(name) != label}
        AnswerJournal(self.folder / ANSWERS).append(news)
        for name, label in news.items():
            if label is None:
                del self.answers[name]
            else:
                self.answers[name] = label
        return len(news)

    def check(
        self, given: Mapping[str, str | None], where: str, places: Mapping[str, str] | None = None
    ) -> dict[str, str | None]:
        """The answers as labels are spelt, none of them kept. Raises UserError as `answer` does."""
        at = {name: f"{where}, {place}" for name, place in (places or {}).items()}
        return {name: self._checked(name, label, at.get(name, where)) for name, label in given.items()}

    def _checked(self, name: str, label: str | None, where: str) -> str | None:
        row = self.rows.get(name)
        if row is None:
            raise UserError(f"{where}: there is no row {name!r} in {self.record.predictions}"
                            f"{did_you_mean(name, self.rows) or '; its column id says which there are'}")  # fmt: skip
        if row.truth is not None:
            raise UserError(f"{where}: row {name!r} has the label {row.truth!r} already, in {self.record.predictions};"
                            " leave it out here")  # fmt: skip
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
    """Draw the sample and write it down; or go on with the review that the folder holds. Raises UserError where nothing
    is to be reviewed, or the folder holds a review of something else."""
    if (folder / RECORD).exists():
        return open_review(folder, predictions, settings)
    read = read_rows(predictions, settings.columns)
    labelled = Returned() if settings.labelled is None else read_answers(settings.labelled)
    rows = in_question(read, labelled)
    candidates = [row for row in rows.values() if is_drawable(row)]
    if all(row.truth is not None for row in rows.values()):
        raise UserError(
            f"{predictions}: every row has a label already; `--simulate` says what a review would have saved, and"
            " `emocaliber score` how right the model is"
        )
    labels_by_task(rows.values(), settings.labels, str(predictions))
    sampled = [row.id for row in candidates if row.id in labelled]
    if settings.labelled is not None and not sampled:
        raise UserError(f"{settings.labelled}: none of its {len(labelled):,} labels is of a row that the model answered"
                        f" in {predictions}; its column id must hold the ids of that file")  # fmt: skip
    plan = plan_review(
        [row.confidence or 0.0 for row in candidates],
        error=settings.error,
        certainty=settings.certainty,
        settled=len(rows) - len(candidates),
        sample=len(sampled) or settings.sample,
    )
    seed = secrets.randbits(63) if settings.seed is None else settings.seed
    drawn = np.random.default_rng([seed, 1]).choice(len(candidates), plan.sample, replace=False)
    record = ReviewRecord(
        str(predictions.resolve()),
        fingerprint(read.values()),
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
        settings.places,
        sampled or [candidates[index].id for index in drawn],
        settings.columns,
        "" if settings.labelled is None else str(settings.labelled.resolve()),
    )
    review = Review(folder, record, rows)
    given = {name: label for name, label in labelled.items() if name not in rows or rows[name].truth is None}
    review.check(given, str(settings.labelled), labelled.places)
    write_record(folder, record)
    review.answer(given, str(settings.labelled), labelled.places)
    return review


def open_review(folder: Path, predictions: Path | None = None, settings: ReviewSettings | None = None) -> Review:
    """The review that a folder holds, with the labels and pictures of the settings. Raises UserError where it holds
    none, its predictions are others, or the settings ask for another promise or sample."""
    record = old = read_record(folder)
    if settings is not None:
        record = changed(old, settings, folder)
    source = predictions or Path(record.predictions)
    rows = read_rows(source, record.columns)
    if fingerprint(rows.values()) != record.fingerprint:
        raise UserError(
            f"{source}: these are not the predictions that {folder} reviews (started {record.started}); restore"
            " them, or start a new review in another --out"
        )
    review = Review(folder, record, in_question(rows, record.sample), AnswerJournal(folder / ANSWERS).read())
    if record != old:
        labels_by_task(review.rows.values(), record.labels, str(source))
        review.check(review.answers, str(folder / ANSWERS))
        write_record(folder, record)
    return review


def in_question(rows: Mapping[str, Prediction], sample: Container[str]) -> dict[str, Prediction]:
    """The rows, those of a sample that people labelled before without that label: it counts as an answer."""
    return {
        name: msgspec.structs.replace(row, truth=None) if name in sample and row.predicted is not None else row
        for name, row in rows.items()
    }


def _order(rows: Sequence[Prediction], seed: int) -> IntArray:
    """From the surest down; equal confidences by the token probability, where there is one."""
    return most_confident_first(
        [-1.0 if row.confidence is None else row.confidence for row in rows],
        seed,
        [np.nan if row.probability is None else row.probability for row in rows],
    )
