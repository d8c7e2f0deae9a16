"""The files by which a review's questions go out: CSV, JSON Lines and Label Studio.

| file | one row or task each | a person fills in |
|---|---|---|
| `tasks.csv`, `tasks.jsonl` | id, answer, picture, score, reason, model, labels | `answer`; empty or null: not yet |
| `label-studio.json` | data (picture, row, reason), and a prediction with the `score` that sorts the queue | |
| `label-studio.xml` | the labelling interface, with a key for each label | |

`score` is the model's confidence: the lowest, or none, come first. `model` is what the model says; empty in the random
sample, where it would colour the answers. How answers are read back: review_answers.

    write_tasks(Path("out/review"), review.queue(), pictures)
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import msgspec

from emocaliber.core.files import write_atomically
from emocaliber.core.images import ImageError, check_image, read_image_bytes
from emocaliber.core.samples import FileImage, ImageSource
from emocaliber.runs.review_answers import CONTROL, Returned, read_answers
from emocaliber.runs.review_rows import Item

CSV_FILE, LINES_FILE, STUDIO_FILE, STUDIO_SETUP = "tasks.csv", "tasks.jsonl", "label-studio.json", "label-studio.xml"
COLUMNS = ("id", "answer", "picture", "score", "reason", "model", "labels")
KEYS = "1234567890qwertyuiop"
SHOWN = "picture"
"""The picture's name in Label Studio's interface."""


def write_tasks(folder: Path, items: Sequence[Item], pictures: Mapping[str, ImageSource], unclear: str) -> None:
    """Write what is to be answered now in every form. `unclear` is the label of a person who cannot tell."""
    records = [_record(item, pictures.get(item.id)) for item in items]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(record | {"labels": "|".join(record["labels"])} for record in records)
    write_atomically(folder / CSV_FILE, [text.getvalue().encode()])
    write_atomically(folder / LINES_FILE, (msgspec.json.encode(record) + b"\n" for record in records))
    tasks = [studio_task(item, pictures.get(item.id)) for item in items]
    write_atomically(folder / STUDIO_FILE, [msgspec.json.format(msgspec.json.encode(tasks), indent=1) + b"\n"])
    labels = dict.fromkeys(label for item in items for label in item.labels)
    write_atomically(folder / STUDIO_SETUP, [studio_setup([*labels, unclear]).encode()])


def _record(item: Item, picture: ImageSource | None) -> dict[str, Any]:
    place = str(picture.root / picture.name) if isinstance(picture, FileImage) else ""
    return {
        "id": item.id,
        "answer": None,
        "picture": place,
        "score": item.score,
        "reason": item.reason,
        "model": item.predicted,
        "labels": list(item.labels),
    }


def studio_task(item: Item, picture: ImageSource | None) -> dict[str, Any]:
    """A task of Label Studio. What it has no score for, it puts at the queue's end: no confidence is 0 here."""
    result = [
        {"from_name": CONTROL, "to_name": SHOWN, "type": "choices", "value": {"choices": [item.predicted]}}
    ] if item.predicted is not None else []  # fmt: skip
    return {
        "data": {SHOWN: _address(item.id, picture), "row": item.id, "reason": item.reason},
        "predictions": [{"model_version": "emocaliber", "score": item.score or 0.0, "result": result}],
    }


def _address(name: str, picture: ImageSource | None) -> str:
    """Where Label Studio finds a picture: a file below its document root, or the bytes themselves."""
    if picture is None:
        return name
    if isinstance(picture, FileImage):
        return f"/data/local-files/?d={quote(picture.name)}"
    try:
        encoded = read_image_bytes(picture)
        kind = check_image(encoded, name)[0].lower()
    except ImageError:
        return name
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def studio_setup(labels: Sequence[str]) -> str:
    """The labelling interface for Label Studio's Settings, Labeling Interface, Code."""
    keys = [*KEYS[: len(labels)], *[""] * (len(labels) - len(KEYS))]
    choices = "".join(
        f"    <Choice value={quoteattr(label)}{f' hotkey={quoteattr(key)}' if key else ''}/>\n"
        for label, key in zip(labels, keys, strict=True)
    )
    return (
        f'<View>\n  <Header value="$reason"/>\n  <Image name="{SHOWN}" value="${SHOWN}"/>\n'
        f'  <Choices name="{CONTROL}" toName="{SHOWN}" choice="single" showInline="true">\n{choices}  </Choices>\n'
        "</View>\n"
    )


def filled_in(folder: Path) -> dict[Path, Returned]:
    """The answers that stand in the folder's own task files, where somebody has filled them in."""
    files = [folder / CSV_FILE, folder / LINES_FILE]
    return {path: answers for path in files if _has_rows(path) and (answers := read_answers(path))}


def _has_rows(path: Path) -> bool:
    """The file of a finished review holds none."""
    return path.is_file() and path.stat().st_size > len(",".join(COLUMNS)) + 2
