"""The answers of people, read back from a file: a filled-in tasks.csv or tasks.jsonl, a Label Studio export (JSON,
JSON-MIN, CSV, TSV), or any table with a column `id` (or `row`) and a column `answer` (or `emotion`, `label`, `truth`).

Rows without an answer are left out and counted: a person may stop in the middle. Whoever edits an export by hand is
told which task and key cannot be read.

    answers = read_answers(Path("project-1-at-2026-11-30.json"))
    answers["0001.jpg"], answers.places["0001.jpg"]         # "joy", "task 17"
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_utf8
from emocaliber.reading.table_cells import read_cells

IDS, SAID = ("row", "id"), ("answer", "emotion", "label", "truth")
CONTROL = "emotion"
"""The name of the choice in Label Studio's interface."""
FORMS = "give a filled-in tasks.csv, a Label Studio export, or a table with the columns id and answer"


class Returned(dict[str, str]):
    """The answers of a file by row; `places` says where in it each stands, `without` counts the rows without one."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}
        self.without = 0

    def taken(self, name: str, new: int) -> str:
        """What was taken of the file, in a sentence."""
        without = f"; {self.without:,} without an answer, asked again" if self.without else ""
        return f"{name}: {len(self):,} answer{'s' if len(self) != 1 else ''}, {new:,} of them new{without}"


class _Result(msgspec.Struct):
    """What was marked in one control of Label Studio."""

    type: str = ""
    value: dict[str, Any] = {}
    from_name: str = CONTROL


class _Annotation(msgspec.Struct):
    result: list[_Result] | None = None
    was_cancelled: bool | None = None


class _Task(msgspec.Struct):
    data: dict[str, Any]
    annotations: list[_Annotation] | None = None


Found = Iterable[tuple[str, str, str]]
"""Row, answer ("" where there is none) and place of each row of a file."""


def read_answers(path: Path) -> Returned:
    """The answers of a file. Raises UserError where the file is none of these, or one row has two answers."""
    tasks = _studio_tasks(path)
    answers = Returned()
    for name, label, place in _table_answers(path) if tasks is None else _studio_answers(path, tasks):
        if not label:
            answers.without += 1
        elif (said := answers.setdefault(name, label)) != label:
            raise UserError(f"{path}, {place}: row {name!r} is answered {label!r} here and {said!r} in"
                            f" {answers.places[name]}; leave one of them")  # fmt: skip
        else:
            answers.places.setdefault(name, place)
    return answers


def _studio_tasks(path: Path) -> list[dict[str, Any]] | None:
    """The tasks of Label Studio's own JSON; None for another kind of file."""
    with open_utf8(path) as file:
        if file.peek(1)[:1] != b"[":  # type: ignore[attr-defined]
            return None
        try:
            tasks = msgspec.json.decode(file.read(), type=list[dict[str, Any]])
        except msgspec.DecodeError:
            return None
    return tasks if any(isinstance(task.get("data"), dict) for task in tasks) else None


def _studio_answers(path: Path, tasks: Iterable[dict[str, Any]]) -> Found:
    for number, task in enumerate(tasks, 1):
        place = f"task {number}"
        try:
            read = msgspec.convert(task, _Task)
        except msgspec.ValidationError as problem:
            what, _, key = str(problem).partition(" - at `$.")
            where = ", ".join(filter(None, (f"{path}, {place}", key.rstrip("`"))))
            raise UserError(f"{where}: {what[0].lower()}{what[1:]}; export it anew, or mend this key") from None
        name = read.data.get("row")
        if name is None:
            raise UserError(f"{path}, {place}: no data.row says which row it is; import label-studio.json as it is")
        yield from ((str(name), label, place) for label in _chosen(f"{path}, {place}: row {name!r}", read))


def _chosen(where: str, task: _Task) -> list[str]:
    """What the annotators chose; [""] where nobody did. What was skipped in Label Studio is asked again."""
    given = [each for each in task.annotations or [] if not each.was_cancelled]
    marked = [result for each in given for result in each.result or [] if result.type == "choices"]
    chosen = [_one_choice(where, result.value.get("choices")) for result in marked if result.from_name == CONTROL]
    if marked and not chosen:
        raise UserError(f"{where}: the choice is called {marked[0].from_name!r}; in this review's interface"
                        f" (label-studio.xml) it is {CONTROL!r}: rename from_name")  # fmt: skip
    return chosen or [""]


def _one_choice(where: str, choices: Any) -> str:
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise UserError(f'{where}: choices is {choices!r}; a list of one label is needed, such as ["joy"]')
    if len(choices) != 1:
        raise UserError(f"{where} has {len(choices)} choices ({', '.join(choices)}); leave one of them")
    return str(choices[0]).strip()


def _table_answers(path: Path) -> Found:
    cells = read_cells(path)
    header = [str(name).strip().casefold() for name in cells.header]
    row_id, said = _column(path, cells.header, header, IDS), _column(path, cells.header, header, SAID)
    for row, number in zip(cells.cells, cells.numbers, strict=True):
        place = f"{cells.place} {number}"
        if max(row_id, said) >= len(row):
            raise UserError(f"{path}, {place}: it has {len(row)} fields, the header {len(header)}; complete the line")
        name, label = ("" if row[each] is None else str(row[each]).strip() for each in (row_id, said))
        if isinstance(row[said], dict):  # JSON-MIN, where one may choose several
            label = _one_choice(f"{path}, {place}: row {name!r}", row[said].get("choices"))
        if label and not name:
            raise UserError(f"{path}, {place}: {cells.header[row_id]!r} is empty; write the id of the row that is"
                            f" {label!r}")  # fmt: skip
        yield name, label, place


def _column(path: Path, names: Sequence[str], header: Sequence[str], wanted: Sequence[str]) -> int:
    place = next((header.index(name) for name in wanted if name in header), None)
    if place is None:
        raise UserError(f"{path}: there is no column {' or '.join(wanted)}; there are {', '.join(names)}: {FORMS}")
    return place
