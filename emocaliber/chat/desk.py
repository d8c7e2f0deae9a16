"""The desk: what a person is asked about next, with its picture, and where the answers go. The page of it: review_page.

desk = ReviewDesk(review, pictures_of(review.record.pictures), "labels.csv")
desk.state()                            # everything that the page shows, but the pictures
desk.answer(Given(row=17, label="joy"))
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, load_image
from emocaliber.core.samples import ImageSource
from emocaliber.runs.review import Phase, Review
from emocaliber.runs.review_answers import Returned, read_answers
from emocaliber.runs.review_files import CSV_FILE, LINES_FILE, STUDIO_FILE, STUDIO_SETUP, write_tasks
from emocaliber.runs.review_journal import UNCLEAR
from emocaliber.runs.review_result import percent, sentence, write_result
from emocaliber.runs.review_rows import Item

SIDE = 640
"""Pixels of the longer side of a picture on the page."""
EXPORTS = {"csv": CSV_FILE, "jsonl": LINES_FILE, "studio": STUDIO_FILE, "setup": STUDIO_SETUP}


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """A person's answer for a row, by its number in the set; None withdraws an answer."""

    row: int
    label: str | None


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """The number of the row whose picture is requested."""

    row: int


class Export(msgspec.Struct, forbid_unknown_fields=True):
    """The file of remaining tasks that is requested."""

    kind: Literal["csv", "jsonl", "studio", "setup"]


class Desk(Protocol):
    """What the page needs from a queue of questions."""

    def state(self) -> dict[str, Any]:
        """The remaining questions, and the progress so far."""

    def answer(self, given: Given) -> dict[str, Any]:
        """Store an answer; returns the progress."""

    def picture(self, wanted: Row) -> dict[str, Any]:
        """A picture as a data: URI, or why there is none."""

    def export(self, wanted: Export) -> bytes:
        """The remaining questions as a file."""

    def take(self, content: bytes, name: str) -> str:
        """Read answers from a file; returns a sentence on how many there were."""


class ReviewDesk:
    """The desk of a review: its sample, then the rest; the finished set is written with the last answer."""

    def __init__(self, review: Review, pictures: Mapping[str, ImageSource], set_name: str) -> None:
        self._review, self._pictures, self._set_name = review, pictures, set_name
        self._names = list(review.rows)
        self._numbers = {name: number for number, name in enumerate(self._names)}

    def state(self) -> dict[str, Any]:
        """The remaining questions by reason, and the guarantee."""
        review, items = self._review, self._review.queue()
        record = review.record
        promise = f"Promise: at most {percent(record.error)} wrong, with {percent(record.certainty)} certainty"
        return self._progress() | {
            "promise": promise,
            "between": self._between(len(items)) if review.phase is Phase.REST else "",
            "unclear": UNCLEAR,
            "items": [item_json(item, self._numbers[item.id]) for item in items],
            "reasons": Counter(item.reason for item in items),
        }

    def _between(self, left: int) -> str:
        """What the sample has come to."""
        kept = sum(keep and name not in self._review.answers for name, keep in self._review.kept().items())
        vouched = f"the model's labels of {kept:,} others" if kept else "none of the model's labels"
        return (
            f"It vouches for {vouched}. Please answer the {left:,} that are left as well, the most doubtful first; from"
            " now on m shows what the model says."
        )

    def answer(self, given: Given) -> dict[str, Any]:
        """Store an answer. Raises UserError for a row or a label that does not belong to this review."""
        self._review.answer({self._name(given.row): given.label}, "the page")
        return self._progress()

    def picture(self, wanted: Row) -> dict[str, Any]:
        """The row's picture, or a sentence on why it cannot be shown."""
        name = self._name(wanted.row)
        return shown_picture(name, self._pictures.get(name))

    def export(self, wanted: Export) -> bytes:
        """The remaining questions as `tasks.csv` or another of the review's files."""
        return exported(self._review.queue(), self._pictures, wanted)

    def take(self, content: bytes, name: str) -> str:
        """Read answers from a file that somebody sent back. Raises UserError."""
        answers = sent_back(content, name)
        return f"{answers.taken(name, self._review.answer(answers, name, answers.places))}."

    def _name(self, row: int) -> str:
        if not 0 <= row < len(self._names):
            raise UserError(f"there is no row {row} in this review")
        return self._names[row]

    def _progress(self) -> dict[str, Any]:
        review, phase = self._review, self._review.phase
        answered = sum(name in review.answers for name in review.record.sample)
        total = len(review.record.sample)
        if phase is not Phase.SAMPLE:
            needed = sum(not keep for name, keep in review.kept().items() if name not in review.drawn)
            needed += sum(row.truth is None and row.predicted is None for row in review.rows.values())
            left = len(review.queue())
            answered, total = needed - left, needed
        steps = {
            Phase.SAMPLE: "Step 1 of 2: a random sample. The model's answers are hidden, so that yours are your own.",
            Phase.REST: "Step 2 of 2: what the sample does not vouch for, the most doubtful first.",
            Phase.DONE: "",
        }
        words = steps[phase]
        if phase is Phase.DONE:
            facts = write_result(review, self._set_name)
            words = f"{sentence(facts)} The finished set is {review.folder / self._set_name}."
        return {"phase": phase.value, "words": words, "answered": answered, "total": total}


def item_json(item: Item, row: int) -> dict[str, Any]:
    """A question as JSON values for the page."""
    return {
        "row": row,
        "id": item.id,
        "labels": item.labels,
        "reason": item.reason,
        "score": item.score,
        "model": item.predicted,
        "shares": dict(item.shares),
    }


def shown_picture(name: str, source: ImageSource | None) -> dict[str, Any]:
    """A picture, without its metadata, as a data: URI; otherwise "problem" says why not."""
    if source is None:
        return {"problem": "Where the picture is was not said: start with --pictures FOLDER."}
    try:
        image = load_image(source)
    except ImageError as error:
        return {"problem": str(error)}
    image.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=88)
    return {"picture": f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", "name": name}


def exported(items: list[Item], pictures: Mapping[str, ImageSource], wanted: Export) -> bytes:
    """One of the files of tasks."""
    with TemporaryDirectory(prefix="emocaliber-") as folder:
        write_tasks(Path(folder), items, pictures, UNCLEAR)
        return (Path(folder) / EXPORTS[wanted.kind]).read_bytes()


def sent_back(content: bytes, name: str) -> Returned:
    """The answers in an uploaded file. Raises UserError with the file name that the sender used."""
    with TemporaryDirectory(prefix="emocaliber-") as folder:
        path = Path(folder) / "answers"
        path.write_bytes(content)
        try:
            return read_answers(path)
        except UserError as error:
            raise UserError(str(error).replace(str(path), name)) from None
