"""The gallery as a desk: the pictures of a folder, the most doubtful first, answered by people with the keyboard.

emocaliber chat --gallery FOLDER --answers answers.jsonl
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emocaliber.chat.answer import Answer
from emocaliber.chat.background import BackgroundAsking
from emocaliber.chat.desk import Export, Given, Row, exported, item_json, sent_back, shown_picture
from emocaliber.chat.gallery import Gallery
from emocaliber.chat.model import ModelChoice
from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.samples import FileImage
from emocaliber.runs.review_journal import UNCLEAR, AnswerJournal, known_label
from emocaliber.runs.review_rows import NOT_ASKED, SURE, UNREADABLE, UNSURE, WORDS, Item


class GalleryDesk:
    """The desk of a gallery. What the model says comes from `asking`, which starts when the desk is first looked at, or
    from whoever last had it asked about all pictures."""

    def __init__(
        self,
        gallery: Gallery,
        choice: ModelChoice,
        threshold: float,
        answers: Path,
        asking: BackgroundAsking | None = None,
    ) -> None:
        self._gallery, self._choice, self._threshold, self._asking = gallery, choice, threshold, asking
        self._journal = AnswerJournal(answers)
        self._answers = self._journal.read()
        self._numbers = {name: number for number, name in enumerate(gallery.names)}
        self._pictures = {name: FileImage(gallery.folder, name) for name in gallery.names}

    def state(self) -> dict[str, Any]:
        """The pictures without an answer by reason, the most doubtful first."""
        if self._asking is not None:
            self._asking.start()
        items = self._items()
        return self._progress() | {
            "promise": "",
            "between": "",
            "unclear": UNCLEAR,
            "items": [item_json(item, self._numbers[item.id]) for item in items],
            "reasons": Counter(item.reason for item in items),
        }

    def answer(self, given: Given) -> dict[str, Any]:
        """Store an answer. Raises UserError for a picture or a label that does not belong to this gallery."""
        if not 0 <= given.row < len(self._gallery.names):
            raise UserError(f"there is no picture {given.row} in this gallery")
        self._keep({self._gallery.names[given.row]: given.label}, "the page")
        return self._progress()

    def picture(self, wanted: Row) -> dict[str, Any]:
        """A picture of the folder."""
        if not 0 <= wanted.row < len(self._gallery.names):
            raise UserError(f"there is no picture {wanted.row} in this gallery")
        name = self._gallery.names[wanted.row]
        found = shown_picture(name, self._pictures[name])
        folder = self._gallery.folder  # visitors need not know where it lies
        return {key: value.replace(str(folder), folder.name) for key, value in found.items()}

    def export(self, wanted: Export) -> bytes:
        """The unanswered pictures as a file."""
        return exported(self._items(), self._pictures if wanted.kind == "studio" else {}, wanted)

    def take(self, content: bytes, name: str) -> str:
        """Read the answers in a file. Raises UserError, and stores none, if one does not belong to this gallery."""
        answers = sent_back(content, name)
        return f"{answers.taken(name, self._keep(dict(answers), name, answers.places))}."

    def _keep(self, given: dict[str, str | None], source: str, places: Mapping[str, str] | None = None) -> int:
        for name, label in given.items():
            where = f"{source}, {places[name]}" if places else source
            if name not in self._numbers:
                raise UserError(f"{where}: there is no picture {name!r} here{did_you_mean(name, self._numbers)}")
            if label is not None:
                given[name] = known_label(label, self._choice.labels, f"{where}: picture {name!r}")
        news = {name: label for name, label in given.items() if self._answers.get(name) != label}
        self._journal.append(news)
        for name, label in news.items():
            if label is None:
                del self._answers[name]
            else:
                self._answers[name] = label
        return len(news)

    def _items(self) -> list[Item]:
        return sorted((self._item(name) for name in self._gallery.names if name not in self._answers), key=Item.place)

    def _item(self, name: str) -> Item:
        turn = self._gallery.turns.get(name)
        if turn is None:
            return Item(name, self._choice.labels, NOT_ASKED, None, None, {})
        answer = turn.read(self._choice, self._threshold)
        return Item(name, self._choice.labels, _reason(answer), answer.confidence, answer.label, answer.alternatives)

    def _progress(self) -> dict[str, Any]:
        answered = sum(name in self._answers for name in self._gallery.names)
        total = len(self._gallery.names)
        if answered == total:
            words = f"All {total:,} pictures are answered; the answers are in {self._journal.path.name}."
            return {"phase": "done", "words": words, "answered": answered, "total": total}
        asked, words = len(self._gallery.turns), "The most doubtful first."
        asking = self._asking is not None and self._asking.running
        if asking:
            words += f" The model is still being asked: {asked:,} of {total:,} so far."
        elif self._asking is not None and self._asking.problem:
            words = f"{self._asking.problem} What it was not asked about comes in the order of the names."
        return {"phase": "rest", "words": words, "answered": answered, "total": total, "asking": asking}


def _reason(answer: Answer) -> str:
    if answer.label is None:
        return UNREADABLE
    if answer.reason in WORDS:
        return WORDS[answer.reason]
    return SURE if answer.trusted else UNSURE
