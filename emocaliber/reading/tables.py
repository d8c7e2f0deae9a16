"""A person's own table as Prediction rows: delimited text in any dialect, Parquet, Excel, JSON objects; a row a sample.

A column is named by its option, or recognised by its header (emocaliber.reading.headers). A table needs confidence and
correct, or confidence, label and prediction; the others are optional:

| role | recognised headers | cells |
|---|---|---|
| confidence | confidence, model_confidence, probability, score … | 0 to 1, or with %; empty: no confidence was stated |
| correct | correct, is_correct, right, hit … | 1/0, true/false, yes/no, right/wrong, correct/incorrect |
| label, prediction | true emotion, ground truth, target …; predicted emotion … | any text; compared in any case |
| id, task, group, cluster | id, file name …; task, dataset; group, subset; cluster | any text |

gzip, byte-order marks, UTF-16, and decimal commas beside semicolons or tabs are understood. Every fault of a file is
counted and the first ones are shown together. No row is dropped; what was read as what is in `columns`.

    emocaliber score mine.csv --confidence-column certainty --percent
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.reading.headers import (
    FALSE,
    HEADERS,
    TRUE,
    finite,
    options_for,
    other_label,
    picture_column,
    plain,
    recognised,
    says_percent,
)
from emocaliber.reading.table_cells import Cells, read_cells

RIGHT, WRONG = "right", "wrong"
"""What stands for the labels of a table that has none."""
SHOWN = 10
"""Faults shown of those counted."""


class Columns(msgspec.Struct, frozen=True):
    """Headers named by options, None where they are to be recognised; `percent`: confidences are from 0 to 100.

    `labels` are the candidates of responses whose file names none: for what `foreign_outputs.read_lines` reads."""

    confidence: str | None = None
    correct: str | None = None
    label: str | None = None
    prediction: str | None = None
    id: str | None = None
    task: str | None = None
    group: str | None = None
    cluster: str | None = None
    percent: bool = False
    labels: tuple[str, ...] = ()


RECOGNISED = Columns()


@dataclass(frozen=True)
class Table:
    """A table as it was read: `rows` for judging, `columns` from role to header, and the cells as they stood.

    `numbered`: there is no column of ids, so that rows are known by their line alone.
    """

    rows: list[Prediction]
    columns: dict[str, str]
    header: list[str]
    cells: list[list[Any]]
    delimiter: str
    percent: bool
    decimal_comma: bool

    @property
    def numbered(self) -> bool:
        """Whether rows are known by their line alone."""
        return "id" not in self.columns

    @property
    def described(self) -> str:
        """Which columns of another name were read as what, percentages, and labels that no prediction uses; "" where
        there is nothing to say."""
        renamed = [f"column {name!r} is the {role}" for role, name in self.columns.items() if plain(name) != role]
        percent = ["confidences are percentages"] if self.percent else []
        return ", ".join([*renamed, *percent, *self._other_words()])

    def _other_words(self) -> list[str]:
        """The sentence for predictions that are all in other words than the labels ("happy" for happiness, 3 for
        sad), which would count as wrong; empty for any other table."""
        said, true = ({getattr(row, name) for row in self.rows} - {None} for name in ("predicted", "truth"))
        if "prediction" not in self.columns or "correct" in self.columns or not (said and true) or said & true:
            return []
        few = [", ".join(map(repr, sorted(map(str, names))[:SHOWN])) for names in (said, true)]
        return [f"no prediction ({few[0]}) is any row's label ({few[1]}), so that all count as wrong: write them alike"]


def read_table(path: Path, columns: Columns = RECOGNISED, *, unlabelled: bool = False) -> Table:
    """The rows of a table; `unlabelled` rows, which do not say what is correct, are let through on request.

    Raises UserError that names the file, and all faults of its cells with line and column.
    """
    raw = read_cells(path)
    used = _used(path, raw, columns, unlabelled)
    return _Reader(path, raw, used, columns.percent, unlabelled).table()


def _used(path: Path, raw: Cells, columns: Columns, unlabelled: bool) -> dict[str, int]:
    """The position of each role's column. Raises UserError where one that is needed, or was named, is not there."""
    used: dict[str, int] = {}
    for role in HEADERS:
        if (named := getattr(columns, role)) is not None:
            used[role] = _named(path, raw.header, named, role)
    for role in HEADERS:
        if role not in used and (place := recognised(raw.header, role, used.values())) is not None:
            used[role] = place
    used |= other_label(raw.header, used)
    if "id" not in used and (picture := picture_column(raw.header, raw.cells)) is not None:
        used.setdefault(*picture)
    if columns.correct is None and {"label", "prediction"} <= used.keys() and (columns.label or columns.prediction):
        used.pop("correct", None)
    needs_labels = not {"label", "prediction"} <= used.keys()
    if "confidence" in used and ("correct" in used or not needs_labels or unlabelled):
        return used
    raise UserError(f"{path}, {raw.place} 1: {_no_header(raw, used)}")


def _named(path: Path, header: list[str], name: str, role: str) -> int:
    for same in (lambda cell: cell == name, lambda cell: plain(cell) == plain(name)):
        if any(map(same, header)):
            return next(place for place, cell in enumerate(header) if same(cell))
    close = get_close_matches(name, header, 1)
    near = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(header)}"
    raise UserError(f"{path}: --{role}-column: there is no column {name!r}{near}")


def _no_header(raw: Cells, used: Mapping[str, int]) -> str:
    header = raw.header
    if not used and any(_is_number(cell) for cell in header):
        example = ",".join(header)
        return f"the header line is missing (it is {example}): write one above it, such as confidence,correct"
    there, guess = ", ".join(header), options_for(header, raw.cells, used)
    perhaps = f", perhaps: {guess}" if guess else ""
    if "confidence" not in used:
        return (
            f"no column of confidences among {there}; name it with --confidence-column{perhaps}. A model's responses"
            " are read from JSON lines with response, ground_truth, candidates and task, or a table with index, answer"
            " and prediction"
        )
    return (
        f"no column that says what is correct among {there}; name it with --correct-column, or the true and the"
        f" predicted label with --label-column and --prediction-column{perhaps}"
    )


class _Reader:
    """One table's cells, read with all their faults."""

    def __init__(self, path: Path, raw: Cells, used: dict[str, int], percent: bool, unlabelled: bool) -> None:
        self.path, self.raw, self.used, self.unlabelled = path, raw, used, unlabelled
        self.faults: list[str] = []
        self.signs = [str(cells[used["confidence"]]).rstrip().endswith("%") for cells in raw.cells
                      if len(cells) > used["confidence"] and not _missing(cells[used["confidence"]])]  # fmt: skip
        self.percent = percent or any(self.signs)
        self.needs_sign = any(self.signs) and not percent
        self.decimal_comma = raw.delimiter in ";\t" and any(
            re.fullmatch(r"\s*\d+,\d+\s*%?\s*", str(cells[used["confidence"]]))
            for cells in raw.cells
            if len(cells) > used["confidence"]
        )
        self.percent = self.percent or (says_percent(raw.header[used["confidence"]]) and self._largest() > 1)
        self.spelling: dict[str, str] = {}
        self.words = False

    def _largest(self) -> float:
        """The largest confidence, as it is written; 0 where there is none."""
        return max((self._value(cells[self.used["confidence"]]) or 0.0 for cells in self.raw.cells
                    if len(cells) > self.used["confidence"]), default=0.0)  # fmt: skip

    def _value(self, cell: Any) -> float | None:
        """The number in a cell, its percent sign aside; None where it is none."""
        digits = str(cell).strip().rstrip("%").rstrip()
        return None if isinstance(cell, bool) else finite(digits.replace(",", ".") if self.decimal_comma else digits)

    def table(self) -> Table:
        rows = [self._row(cells, number) for cells, number in zip(self.raw.cells, self.raw.numbers, strict=True)]
        self._refuse_repeated_ids(rows)
        if self.faults:
            raise UserError(self._all_faults())
        columns = {role: self.raw.header[place] for role, place in self.used.items()}
        readable = [row for row in rows if row is not None]
        return Table(
            readable, columns, self.raw.header, self.raw.cells, self.raw.delimiter, self.percent, self.decimal_comma
        )

    def _row(self, cells: list[Any], number: int) -> Prediction | None:
        where = f"{self.raw.place} {number}"
        if len(cells) != len(self.raw.header):
            self.faults.append(f"{where}: it has {len(cells)} fields, the header {len(self.raw.header)}")
            return None
        before = len(self.faults)
        truth, predicted = self._labels(cells, where)
        confidence = self._confidence(cells[self.used["confidence"]], where)
        if len(self.faults) > before:
            return None
        name = self._text(cells, "id") or str(number - 1 if self.raw.place == "line" else number)
        state = State.OK if confidence is not None else State.MISSING_CONFIDENCE
        return Prediction(
            name,
            self._text(cells, "task") or "all",
            self._text(cells, "group"),
            self._text(cells, "cluster") or name,
            truth,
            predicted,
            confidence,
            State.MISSING_LABEL if predicted is None else state,
            Source.VERBALIZED,
            self.path.name.removesuffix(".gz").rpartition(".")[0] or self.path.name,
        )

    def _text(self, cells: Sequence[Any], role: str) -> str:
        """A cell as text; "" where it is empty, or there is no such column."""
        if role not in self.used or (value := cells[self.used[role]]) is None:
            return ""
        return str(value).strip()

    def _labels(self, cells: Sequence[Any], where: str) -> tuple[str | None, str | None]:
        """Truth and predicted label, in the spelling that the table used first."""
        if "correct" in self.used or "prediction" not in self.used:
            text = self._text(cells, "correct").casefold()
            if not text and self.unlabelled:
                return None, RIGHT
            if text not in TRUE | FALSE:
                self._fault(where, "correct", f"must be 1 or 0, true or false, yes or no; it is {text!r}")
            return RIGHT, RIGHT if text in TRUE else WRONG
        truth, predicted = self._text(cells, "label"), self._text(cells, "prediction")
        if not truth and not self.unlabelled:
            self._fault(where, "label", "is empty; every row needs its true label")
        spelled = [self.spelling.setdefault(label.casefold(), label) or None for label in (truth, predicted)]
        return spelled[0], spelled[1]

    def _confidence(self, cell: Any, where: str) -> float | None:
        if _missing(cell):
            return None
        text = str(cell).strip()
        signed, value = text.endswith("%"), self._value(cell)
        if value is None:
            self.words = self.words or text.isalpha()
            self._fault(where, "confidence", f"{text!r} is not a number; leave it empty where there is none")
        elif self.needs_sign and not signed:
            self._fault(where, "confidence", f"{text!r} has no percent sign, other rows have; write all of them alike")
        elif not 0.0 <= (share := value / 100 if self.percent else value) <= 1.0:
            self._fault(where, "confidence", f"{text} is outside {'0 to 100 %' if self.percent else '[0, 1]'}")
        else:
            return share
        return None

    def _fault(self, where: str, role: str, what: str) -> None:
        self.faults.append(f"{where}: {self.raw.header[self.used[role]]!r} {what}")

    def _refuse_repeated_ids(self, rows: Sequence[Prediction | None]) -> None:
        if "id" not in self.used:
            return
        first: dict[str, int] = {}
        for row, number in zip(rows, self.raw.numbers, strict=True):
            if row is not None and first.setdefault(row.id, number) != number:
                self._fault(
                    f"{self.raw.place} {number}",
                    "id",
                    f"{row.id!r} is that of {self.raw.place} {first[row.id]} too; an id names one row (rows that belong"
                    " together have one --cluster-column)",
                )

    def _all_faults(self) -> str:
        hint = self._hint()
        if len(self.faults) == 1:
            return f"{self.path}, {self.faults[0]}{hint}"
        shown = "\n  ".join(self.faults[:SHOWN])
        more = f"\n  … and {len(self.faults) - SHOWN} more" if len(self.faults) > SHOWN else ""
        rows = len(self.raw.cells)
        return f"{self.path}: {len(self.faults)} faults in {rows} rows{hint}:\n  {shown}{more}"

    def _hint(self) -> str:
        """How to mend confidences of another scale."""
        largest = self._largest()
        if self.words:
            return "; give each word a number from 0 to 1: `recalibrate fit` then finds what it is worth"
        if self.percent or not 1 < largest <= 100:
            return ""
        scale = f"; on a scale up to {largest:g}, divide them by it" if largest <= 10 else ""
        return f"; where confidences are percentages, add --percent{scale}"


def _missing(cell: Any) -> bool:
    return cell is None or not str(cell).strip()


def _is_number(text: str) -> bool:
    return finite(text.strip().rstrip("%")) is not None
