"""The gallery: a folder's pictures, asked about and put in order, the most doubtful first, for those who annotate.

Not a run over a data set (see emocaliber generate): nothing here is judged, and no label is needed. The folder is named
on the command line, never on the page.

    emocaliber chat --gallery FOLDER
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emocaliber.chat.answers import Answer, read_answer
from emocaliber.chat.batching import Batcher, Coming
from emocaliber.chat.models import ModelChoice
from emocaliber.chat.pictures import Picture, read_picture
from emocaliber.chat.questions import request_of
from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, read_image_bytes
from emocaliber.core.samples import FileImage
from emocaliber.generation.engine import IMAGE_ERROR, Response

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MOST_PICTURES = 10_000
AT_ONCE = 16
"""Pictures of one gallery in the queue at a time: the others' questions come between."""
COLUMNS = ("picture", "label", "confidence", "trusted", "state", "sentence", "alternatives", "text", "error")
EVERY_LABEL, NO_LABEL = "every feeling", "no readable answer"


@dataclass(frozen=True)
class Row:
    """One picture of the folder: its name under it, a thumbnail (empty where it cannot be used), the response."""

    name: str
    thumbnail: str
    response: Response
    candidates: tuple[str, ...]

    def read(self, choice: ModelChoice, threshold: float) -> Answer:
        """The answer, judged at this threshold."""
        return read_answer(
            self.response, choice.template, self.candidates,
            name=self.name, record=choice.record, threshold=threshold,
        )  # fmt: skip


def files_of(folder: Path) -> list[str]:
    """The pictures' names under the folder, sorted. Raises UserError where there is none, or too many."""
    if not folder.is_dir():
        raise UserError(f"--gallery {folder}: no such folder")
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not 0 < len(found) <= MOST_PICTURES:
        raise UserError(f"--gallery {folder}: {len(found)} pictures; from 1 to {MOST_PICTURES:,} can be shown")
    return found


async def ask_folder(
    folder: Path, names: Sequence[str], choice: ModelChoice, batcher: Batcher, candidates: tuple[str, ...]
) -> AsyncGenerator[list[Row]]:
    """Rows as they come, some at a time, in the names' order. Raises BusyError where the queue is full."""
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        pictures = await asyncio.gather(*(asyncio.to_thread(_picture, folder, name) for name in part))
        coming: list[Coming] = []
        try:
            for picture in pictures:
                coming.append(_answer_to_come(picture, choice, batcher, candidates))
            thumbnails = [picture.thumbnail if isinstance(picture, Picture) else "" for picture in pictures]
            answered = zip(part, thumbnails, coming, strict=True)
            yield [Row(name, shown, await asyncio.wrap_future(f), candidates) for name, shown, f in answered]
        finally:
            for future in coming:
                future.take_back()


def _answer_to_come(
    picture: Picture | ImageError, choice: ModelChoice, batcher: Batcher, candidates: tuple[str, ...]
) -> Coming:
    if isinstance(picture, Picture):
        return batcher.submit(request_of(picture.name, picture.image, choice.template, candidates))
    failed = Coming()
    failed.set_result(Response("", "", IMAGE_ERROR, error=str(picture)))
    return failed


def _picture(folder: Path, name: str) -> Picture | ImageError:
    try:
        return read_picture(read_image_bytes(FileImage(folder, name)), name)
    except ImageError as problem:
        return ImageError(str(problem).replace(str(folder), folder.name))  # visitors need not know where it lies


def doubtful_first(answers: Sequence[tuple[Answer, str]]) -> list[tuple[Answer, str]]:
    """What could not be read first, then by rising confidence; ties by name."""
    return sorted(answers, key=lambda item: (item[0].confidence is not None, item[0].confidence or 0.0, item[0].name))


def chosen(answers: Sequence[tuple[Answer, str]], label: str, untrusted_only: bool) -> list[tuple[Answer, str]]:
    """Those of one label (or EVERY_LABEL, or NO_LABEL), and of these, where asked, only those not trusted."""

    def fits(answer: Answer) -> bool:
        right_label = label == EVERY_LABEL or answer.label == (None if label == NO_LABEL else label)
        return right_label and not (untrusted_only and answer.trusted)

    return [item for item in answers if fits(item[0])]


def as_csv(answers: Sequence[Answer]) -> str:
    """COLUMNS, a picture a line; alternatives as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for answer in answers:
        row = answer.as_json()
        writer.writerow(row | {"alternatives": json.dumps(row["alternatives"], ensure_ascii=False)})
    return text.getvalue()


def as_jsonl(answers: Sequence[Answer]) -> str:
    """All that is known, a picture a line."""
    return "".join(json.dumps(answer.as_json(), ensure_ascii=False) + "\n" for answer in answers)
