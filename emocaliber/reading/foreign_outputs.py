"""Files of any origin as Prediction rows: prediction files, EmoCaliber's merged output, and a person's own tables.

What a file is, its content says, whatever its name. A line of merged output has `response`, `ground_truth`,
`candidates` (a list) and `task`; other keys (its own `confidence` too) are not read, and the response is read by the
same parser as everywhere else. Tables are in `tables`.

    rows = list(read_lines(Path("merged.jsonl")))
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_text
from emocaliber.core.prediction_files import is_columnar
from emocaliber.core.predictions import Prediction, Source, decode_lines, read_predictions
from emocaliber.reading import read_response


class MergedLine(msgspec.Struct, frozen=True):
    """What is read of a line of EmoCaliber's merged output."""

    response: str | list[str] | None
    ground_truth: str
    candidates: list[str] | str
    task: str


def is_table(path: Path) -> bool:
    """Whether the file is a table, for `tables.read_table`: neither a prediction file nor merged output."""
    if is_columnar(path):
        return False
    keys = _first_keys(path)
    return keys is None or not ("response" in keys or "state" in keys or {"source", "method"} <= keys or not keys)


def read_lines(path: Path, *, unlabelled: bool = False) -> Iterator[Prediction]:
    """The rows of a prediction file or of merged output. Raises UserError naming file, line and key; unless
    `unlabelled`, also for a row without truth."""
    merged = "response" in (_first_keys(path) or ())
    return read_merged(path) if merged else read_predictions(path, unlabelled=unlabelled)


def _first_keys(path: Path) -> set[str] | None:
    """The keys of the first JSON object of a file; none where it is malformed, and None where it is not JSON."""
    with open_text(path) as file:
        first = file.readline()
        if (mark := first.lstrip()[:1]) not in (b"{", b"["):
            return None
        try:
            if mark == b"{":
                return set(msgspec.json.decode(first, type=dict[str, msgspec.Raw]))
            objects = msgspec.json.decode(first + file.read(), type=list[dict[str, msgspec.Raw]])
            return set(objects[0]) if objects else set()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return set()


def read_merged(path: Path) -> Iterator[Prediction]:
    """The rows of EmoCaliber's merged output, ids by line. Raises UserError naming file, line and key."""
    for number, line in decode_lines(path, MergedLine):
        where = f"{path}, line {number}"
        candidates = _candidates(line.candidates)
        names = {name.casefold(): name for name in candidates}
        truth = names.get(line.ground_truth.strip().casefold())
        if truth is None:
            raise UserError(
                f"{where}: 'ground_truth' {line.ground_truth!r} is not among 'candidates' {candidates}; mend either"
            )
        reading = read_response(_response(line.response, where), candidates)
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


def _candidates(stated: list[str] | str) -> list[str]:
    """The labels to choose from; text lists them between commas."""
    return [name.strip() for name in (stated.split(",") if isinstance(stated, str) else stated)]


def _response(stated: str | list[str] | None, where: str) -> str:
    """The text of the one response. Raises UserError where there are several."""
    if isinstance(stated, list):
        if len(stated) > 1:
            raise UserError(f"{where}: 'response' holds {len(stated)} texts; write one line for each")
        return stated[0] if stated else ""
    return stated or ""
