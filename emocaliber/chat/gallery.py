"""The gallery: the pictures of a folder, asked about and ordered by doubt, for those who annotate.

The folder is named on the command line, never on the page.

    emocaliber chat --gallery FOLDER
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emocaliber.calibration.conformal import Floats
from emocaliber.chat.answer import Answer
from emocaliber.chat.batching import Batcher, PendingAnswer
from emocaliber.chat.model import ModelChoice
from emocaliber.chat.questions import request_of
from emocaliber.chat.session import Asking, Picture, Turn, read_picture
from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, read_image_bytes
from emocaliber.core.samples import FileImage
from emocaliber.generation.engine import IMAGE_ERROR, Response
from emocaliber.runs.doubt import Looking

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MOST_FILES = 10_000
AT_ONCE = 16
"""Pictures of one gallery in the queue at a time: other users' questions come between."""
COLUMNS = ("picture", "label", "confidence", "trusted", "state", "sentence", "alternatives", "text", "error")
EVERY_LABEL, NO_LABEL = "every label", "no readable answer"


def files_of(folder: Path) -> list[str]:
    """The names of the pictures in the folder, sorted. Raises UserError if there are none, or too many."""
    if not folder.is_dir():
        raise UserError(
            f"--gallery {folder}: {'this is a file; give its folder' if folder.exists() else 'no such folder'}"
        )
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not 0 < len(names) <= MOST_FILES:
        raise UserError(f"--gallery {folder}: {len(names)} pictures; from 1 to {MOST_FILES:,} can be shown")
    return names


@dataclass(frozen=True)
class Gallery:
    """A folder's pictures. Thumbnails are made once, for all users; `turns` holds the last answer about each picture;
    `reviewed` says that people's answers are kept (see gallery_desk)."""

    folder: Path
    names: Sequence[str]
    thumbnails: dict[str, str] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    reviewed: bool = False

    async def ask(
        self,
        choice: ModelChoice,
        batcher: Batcher,
        labels: tuple[str, ...],
        *,
        only: Sequence[str] | None = None,
        look: Looking | None = None,
    ) -> AsyncGenerator[list[Turn]]:
        """Answers as they come, some at a time, in the names' order; `only` these pictures. Raises BusyError where the
        queue is full."""
        wanted = self.names if only is None else only
        for start in range(0, len(wanted), AT_ONCE):
            names = wanted[start : start + AT_ONCE]
            reading = (asyncio.to_thread(self._picture, name, choice.max_pixels) for name in names)
            pictures = await asyncio.gather(*reading)
            pending: list[PendingAnswer] = []
            try:
                for picture in pictures:
                    pending.append(_submit(picture, choice, batcher, labels))
                responses = [await asyncio.wrap_future(answer) for answer in pending]
                seen = [None] * len(names) if look is None else await asyncio.to_thread(_features, look, pictures)
                asking = Asking(0, labels, "")
                turns = [
                    Turn(start + number, name, self.thumbnails.get(name, ""), asking, response, features)
                    for number, (name, response, features) in enumerate(zip(names, responses, seen, strict=True))
                ]
                self.turns.update(zip(names, turns, strict=True))
                yield turns
            finally:
                for answer in pending:
                    answer.abandon()

    def _picture(self, name: str, max_pixels: int) -> Picture | ImageError:
        try:
            picture = read_picture(read_image_bytes(FileImage(self.folder, name)), name, max_pixels)
        except ImageError as problem:  # visitors need not know where the folder lies
            return ImageError(str(problem).replace(str(self.folder), self.folder.name))
        self.thumbnails.setdefault(name, picture.thumbnail)
        return picture


def _features(look: Looking, pictures: Sequence[Picture | ImageError]) -> list[Floats | None]:
    """Of each picture [1, w]; None where it cannot be read."""
    return [look.look([picture.image]) if isinstance(picture, Picture) else None for picture in pictures]


def _submit(
    picture: Picture | ImageError, choice: ModelChoice, batcher: Batcher, labels: tuple[str, ...]
) -> PendingAnswer:
    if isinstance(picture, Picture):
        return batcher.submit(request_of(picture.name, picture.image, choice.template, labels))
    failed = PendingAnswer()
    failed.set_result(Response("", "", IMAGE_ERROR, error=str(picture)))
    return failed


def doubtful_first(answers: Sequence[Answer]) -> list[Answer]:
    """Unreadable answers first, then by increasing confidence; ties by name."""
    return sorted(answers, key=lambda answer: (answer.confidence is not None, answer.confidence or 0.0, answer.name))


def filtered(answers: Sequence[Answer], label: str, untrusted_only: bool) -> list[Answer]:
    """The answers with one label (or EVERY_LABEL, or NO_LABEL); optionally only those that are not trusted."""

    def fits(answer: Answer) -> bool:
        right_label = label == EVERY_LABEL or answer.label == (None if label == NO_LABEL else label)
        return right_label and not (untrusted_only and answer.trusted)

    return [answer for answer in answers if fits(answer)]


def as_csv(answers: Sequence[Answer]) -> str:
    """COLUMNS, one line per picture; alternatives as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for answer in answers:
        row = answer.as_json()
        writer.writerow(row | {"alternatives": json.dumps(row["alternatives"], ensure_ascii=False)})
    return text.getvalue()


def as_jsonl(answers: Sequence[Answer]) -> str:
    """Everything about each answer, one line per picture."""
    return "".join(json.dumps(answer.as_json(), ensure_ascii=False) + "\n" for answer in answers)
