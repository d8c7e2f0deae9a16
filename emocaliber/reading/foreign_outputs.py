"""Others' outputs as Prediction rows: EmoCaliber's merged JSON Lines, and a CSV of confidence and correctness.

Not a second parser: a response is read by `emocaliber.reading`, as everywhere else. What the files must hold:

    merged.jsonl    response, ground_truth, candidates, task; other keys (its own `confidence` too) are not read
    anything.csv    a header with confidence and correct (0 or 1), and optionally task; an empty confidence is a
    refusal

    emocaliber score merged.jsonl
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State, decode_lines
from emocaliber.reading import read_response

RIGHT, WRONG = "right", "wrong"
"""What stands for the labels of a CSV, which names none."""


class MergedLine(msgspec.Struct, frozen=True):
    """What is read of a line of EmoCaliber's merged output."""

    response: str | None
    ground_truth: str
    candidates: list[str]
    task: str


class _AnyLine(msgspec.Struct, frozen=True):
    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def is_merged(path: Path) -> bool:
    """Whether the first line has a `response`, which a prediction file never has. Raises UserError for what is not
    JSON."""
    return any(line.response is not msgspec.UNSET for _, line in _first(decode_lines(path, _AnyLine)))


def read_merged(path: Path) -> Iterator[Prediction]:
    """The rows of EmoCaliber's merged output, ids by line. Raises UserError naming file, line and key."""
    for number, line in decode_lines(path, MergedLine):
        names = {name.strip().casefold(): name for name in line.candidates}
        truth = names.get(line.ground_truth.strip().casefold())
        if truth is None:
            raise UserError(
                f"{path}, line {number}: 'ground_truth' {line.ground_truth!r} is not among 'candidates'"
                f" {line.candidates}; mend either"
            )
        reading = read_response(line.response or "", line.candidates)
        name = f"{line.task}/{number}"
        yield Prediction(
            name,
            line.task,
            "",
            name,
            truth,
            reading.label,
            reading.confidence,
            reading.state,
            Source.VERBALIZED,
            path.stem,
            distribution=reading.distribution,
        )


def read_csv(path: Path) -> Iterator[Prediction]:
    """The rows of a CSV, ids by line. Raises UserError naming file, line and column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            header = set(rows.fieldnames or ())
            if not {"confidence", "correct"} <= header <= {"confidence", "correct", "task"}:
                raise UserError(
                    f"{path}, line 1: the header must be confidence,correct or confidence,correct,task; it is"
                    f" {','.join(rows.fieldnames or ())}"
                )
            for row in rows:
                yield _csv_row(path, rows.line_num, row)
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"{path} is not a CSV in UTF-8: {problem}") from None


def _csv_row(path: Path, line: int, row: Mapping[str | None, str | None]) -> Prediction:
    where = f"{path}, line {line}"
    if None in row or None in row.values():
        raise UserError(f"{where}: it does not have as many fields as the header")
    correct = (row["correct"] or "").strip()
    if correct not in {"0", "1"}:
        raise UserError(f"{where}: 'correct' must be 0 or 1, is {correct!r}")
    text = (row["confidence"] or "").strip()
    confidence = _confidence(where, text) if text else None
    state = State.MISSING_CONFIDENCE if confidence is None else State.OK
    name, task = f"{line - 1}", row.get("task") or "all"
    answer = RIGHT if correct == "1" else WRONG
    return Prediction(name, task, "", name, RIGHT, answer, confidence, state, Source.VERBALIZED, path.stem)


def _confidence(where: str, text: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        value = None
    if value is None:
        raise UserError(f"{where}: 'confidence' {text!r} is not a number; leave it empty where there is none")
    if not 0.0 <= value <= 1.0:
        raise UserError(f"{where}: 'confidence' {text} is outside [0, 1]; write 85 % as 0.85")
    return value


def _first(lines: Iterator[tuple[int, _AnyLine]]) -> Iterator[tuple[int, _AnyLine]]:
    for numbered in lines:
        yield numbered
        return
