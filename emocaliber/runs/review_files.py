"""The files by which a review's questions go out and its answers come back: CSV, JSON Lines and Label Studio.

| file | one row or task each | a person fills in |
|---|---|---|
| `tasks.csv`, `tasks.jsonl` | id, answer, picture, score, reason, model, labels | `answer`; empty or null: not yet |
| `label-studio.json` | data (picture, row, reason), and a prediction with the `score` that sorts the queue | |
| `label-studio.xml` | the labelling interface, with a key for each label | |

`score` is the model's confidence: the lowest, or none, come first. `model` is what the model says; empty in the random
sample, where it would colour the answers. Answers are read back from any of these, from Label Studio's exports (JSON,
JSON-MIN, CSV, TSV), and from any table with a column `id` (or `row`) and a column `answer` (or `emotion`, `label`).

    write_tasks(Path("out/review"), review.queue(), pictures)
    read_answers(Path("project-1-at-2026-11-30.json"))
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_utf8, write_atomically
from emocaliber.core.images import ImageError, check_image, read_image_bytes
from emocaliber.core.samples import FileImage, ImageSource
from emocaliber.reading.table_cells import read_cells
from emocaliber.runs.review_rows import Item

CSV_FILE, LINES_FILE, STUDIO_FILE, STUDIO_SETUP = "tasks.csv", "tasks.jsonl", "label-studio.json", "label-studio.xml"
COLUMNS = ("id", "answer", "picture", "score", "reason", "model", "labels")
IDS, ANSWERS = ("row", "id"), ("answer", "emotion", "label")
KEYS = "1234567890qwertyuiop"
CONTROL, SHOWN = "emotion", "picture"
"""The names of the choice and of the picture in Label Studio's interface."""


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


def read_answers(path: Path) -> dict[str, str]:
    """The answers of a file, by row; rows without one are left out. Raises UserError where the file is none of these,
    or one row has two answers."""
    tasks = _studio_tasks(path)
    pairs = _table_answers(path) if tasks is None else _studio_answers(path, tasks)
    answers: dict[str, str] = {}
    for name, label in pairs:
        if answers.setdefault(name, label) != label:
            raise UserError(f"{path}: row {name!r} is answered {answers[name]!r} and {label!r}; leave one of them")
    return answers


def filled_in(folder: Path) -> dict[Path, dict[str, str]]:
    """The answers that stand in the folder's own task files, where somebody has filled them in."""
    files = [folder / CSV_FILE, folder / LINES_FILE]
    return {path: answers for path in files if _has_rows(path) and (answers := read_answers(path))}


def _has_rows(path: Path) -> bool:
    """The file of a finished review holds none."""
    return path.is_file() and path.stat().st_size > len(",".join(COLUMNS)) + 2


def _studio_tasks(path: Path) -> list[dict[str, Any]] | None:
    """The tasks of Label Studio's own JSON; None for another kind of file."""
    with open_utf8(path) as file:
        if file.peek(1)[:1] != b"[":  # type: ignore[attr-defined]
            return None
        try:
            tasks = msgspec.json.decode(file.read(), type=list[dict[str, Any]])
        except msgspec.DecodeError:
            return None
    return tasks if tasks and all(isinstance(task.get("data"), dict) for task in tasks) else None


def _studio_answers(path: Path, tasks: Iterable[dict[str, Any]]) -> Iterable[tuple[str, str]]:
    for number, task in enumerate(tasks, 1):
        name = task["data"].get("row")
        if name is None:
            raise UserError(f"{path}, task {number}: no data.row says which row it is; import {STUDIO_FILE} as it is")
        for annotation in task.get("annotations") or []:
            if annotation.get("was_cancelled"):
                continue  # skipped in Label Studio: asked again
            for result in annotation.get("result") or []:
                if result.get("type") == "choices":
                    yield str(name), _one_choice(path, name, result["value"]["choices"])


def _one_choice(path: Path, name: object, choices: Sequence[str]) -> str:
    if len(choices) != 1:
        raise UserError(f"{path}: row {name!r} has {len(choices)} choices; a review takes one")
    return choices[0]


def _table_answers(path: Path) -> Iterable[tuple[str, str]]:
    cells = read_cells(path)
    header = [str(name).strip().casefold() for name in cells.header]
    place = next((header.index(name) for name in IDS if name in header), None)
    answer = next((header.index(name) for name in ANSWERS if name in header), None)
    if place is None or answer is None:
        missing = " or ".join(IDS if place is None else ANSWERS)
        raise UserError(f"{path}: there is no column {missing}; there are {', '.join(cells.header)}")
    for row, number in zip(cells.cells, cells.numbers, strict=True):
        if max(place, answer) >= len(row):
            raise UserError(f"{path}, {cells.place} {number}: it has {len(row)} fields, the header {len(header)}")
        text = "" if row[answer] is None else str(row[answer]).strip()
        if text:
            yield str(row[place]), text
