"""The rows that a review is about: read from a prediction file or table, and as a person is shown them.

rows = read_rows(Path("out/answers"))           # a folder of `predict`, a prediction file, or a table
item_of(rows["0001.jpg"], labels_by_task(rows.values(), None, "answers"), blind=False)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.predictions import Prediction, Reason
from emocaliber.core.samples import ImageSource
from emocaliber.data.any_source import AnySource
from emocaliber.data.rows import Row
from emocaliber.generation.readouts import FILES
from emocaliber.reading.foreign_outputs import is_table, read_lines
from emocaliber.reading.tables import RECOGNISED, Columns, read_table
from emocaliber.runs.scoring import parts

SAMPLE, UNREADABLE, UNSURE = "drawn at random", "no readable answer", "the model is unsure"
WORDS = {Reason.UNFAMILIAR: "unlike what the model has seen", Reason.AMBIGUOUS: "people differ about such a picture"}
"""The reasons that a row itself gives for its doubt (see emocaliber.core.predictions.Reason)."""
SURE, NOT_ASKED = "the model is sure", "the model was not asked"
REASONS = (SAMPLE, UNREADABLE, *WORDS.values(), UNSURE, NOT_ASKED, SURE)
"""Why a row is looked at, in the order of the queue."""
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Item:
    """A row as a person is shown it. `score` is the model's confidence, None where it has none: the lowest come first.
    `predicted` and `shares` are None and empty where the model's opinion would colour the answer."""

    id: str
    labels: tuple[str, ...]
    reason: str
    score: float | None
    predicted: str | None
    shares: Mapping[str, float]

    def place(self) -> tuple[int, float, str]:
        """Where it stands in the queue: by reason, then the most doubtful first."""
        return REASONS.index(self.reason), -1.0 if self.score is None else self.score, self.id


def item_of(row: Prediction, labels: Mapping[str, tuple[str, ...]], *, blind: bool) -> Item:
    """The row as it is shown: `blind`, for the sample, without what the model says."""
    if blind:
        return Item(row.id, labels[row.task], SAMPLE, row.confidence, None, {})
    return Item(row.id, labels[row.task], reason_of(row), row.confidence, row.predicted, dict(row.distribution or {}))


def reason_of(row: Prediction) -> str:
    """Why the row is looked at, where it was not drawn."""
    if row.predicted is None:
        return UNREADABLE
    return WORDS.get(row.reason, UNSURE) if row.reason is not None else UNSURE


def labels_by_task(
    rows: Iterable[Prediction], declared: Iterable[str] | None, where: str
) -> dict[str, tuple[str, ...]]:
    """The labels of each task: those declared, or all that its rows name. Raises UserError, beginning with `where`,
    where a row names a label that is not declared, or nobody could choose between them."""
    named: dict[str, dict[str, str]] = {}  # label to the first row that names it
    for row in rows:
        own = named.setdefault(row.task, {})
        for label in (row.truth, row.predicted, *(row.votes or {}), *(row.distribution or {})):
            if label is not None:
                own.setdefault(label, row.id)
    if declared is not None:
        labels = tuple(declared)
        if unknown := sorted({*chain.from_iterable(named.values())} - set(labels)):
            first = next(own[unknown[0]] for own in named.values() if unknown[0] in own)
            raise UserError(f"{where}: row {first!r} names {unknown[0]!r}, which --labels does not"
                            f"{did_you_mean(unknown[0], labels)} (in all: {', '.join(unknown)}); declare every label,"
                            " or mend the row")  # fmt: skip
        return dict.fromkeys(named, labels)
    for task, own in named.items():
        if len(own) < 2:
            only = f"the one label {', '.join(own)}" if own else "no label"
            raise UserError(f"{where}: the rows of task {task!r} name {only}, so that nobody could choose: declare them"
                            " all with --labels joy,anger,…")  # fmt: skip
        spelt: dict[str, str] = {}
        for label, name in own.items():
            if (other := spelt.setdefault(label.casefold(), label)) != label:
                raise UserError(
                    f"{where}: row {name!r} names {label!r}, row {own[other]!r} {other!r}; spell them alike"
                )
    return {task: tuple(sorted(own)) for task, own in named.items()}


def read_rows(path: Path, columns: Columns = RECOGNISED) -> dict[str, Prediction]:
    """The rows of one method by id, in order; `columns` are a table's, their labels those of a harness's log that names
    none. Raises UserError for a file that cannot be read, holds no row or several methods, repeats an id, or does not
    say what the model answered."""
    rows: dict[str, Prediction] = {}
    for row in _rows(path, columns):
        if row.id in rows:
            methods = sorted({row.method, rows[row.id].method})
            why = f"methods {' and '.join(methods)}; give one" if len(methods) > 1 else "an id names one row"
            raise UserError(f"{path}: row {row.id!r} stands there twice: {why}")
        rows[row.id] = row
    if not rows:
        raise UserError(f"{path} holds no row")
    if len(methods := sorted({row.method for row in rows.values()})) > 1:
        raise UserError(f"{path}: the rows are of {len(methods)} methods ({', '.join(methods)}); give one method's")
    return rows


def _rows(path: Path, columns: Columns) -> Iterable[Prediction]:
    if path.is_dir():
        if (file := next((path / name for name in FILES.values() if (path / name).is_file()), None)) is not None:
            return read_lines(file, unlabelled=True)
        return chain.from_iterable(read_lines(part, unlabelled=True) for part in parts(path))
    if not path.is_file():
        raise UserError(f"{path}: there is no such file or folder; `emocaliber predict PICTURES --out {path}` makes it")
    if not is_table(path):
        return read_lines(path, unlabelled=True, labels=columns.labels)
    table = read_table(path, columns, unlabelled=True)
    if "prediction" not in table.columns:
        raise UserError(
            f"{path}: no column says what the model answered among {', '.join(table.header)}; name it with"
            " --prediction-column"
        )
    return table.rows


def pictures_of(names: Iterable[str]) -> dict[str, ImageSource]:
    """The picture of each row, by id: of a folder, a table, or whatever else `predict` takes. Raises UserError where a
    source is not there."""
    chosen = tuple(names)
    entries = AnySource(chosen, own_labels=()).entries(pictures=False) if chosen else ()
    return {entry.sample.id: entry.sample.image for entry in entries if isinstance(entry, Row)}


def asked_about(predictions: Path) -> tuple[tuple[str, ...], str | None]:
    """The pictures that a file or folder of `predict` was about, and its --labels, as its manifest says; none where
    there is no manifest."""
    folder = predictions if predictions.is_dir() else predictions.with_name(predictions.name + ".answers")
    try:
        settings = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["settings"]
        return tuple(str(name) for name in settings["source"]), settings["labels"]
    except (OSError, ValueError, KeyError, TypeError):
        return (), None
