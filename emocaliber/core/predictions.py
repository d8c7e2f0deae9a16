"""Prediction: the one row that every method writes and every judge reads, and its file.

The file is JSON Lines, one Prediction a line, read and written as a stream; Parquet and CSV are in prediction_files. A
bad line is an error that names file, line and key; nothing is skipped. Columns for a million rows: prediction_table.

    rows = list(read_predictions(Path("predictions.jsonl")))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_text, write_atomically

__all__ = ["Held", "Prediction", "Reason", "Source", "State", "read_predictions", "write_predictions"]

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
_Schema = TypeVar("_Schema", bound=msgspec.Struct)


class State(StrEnum):
    """Why a row has, or lacks, a label and a confidence."""

    OK = "ok"
    MISSING_LABEL = "missing label"
    UNKNOWN_LABEL = "unknown label"
    AMBIGUOUS_LABEL = "ambiguous label"
    MISSING_CONFIDENCE = "missing confidence"
    NOT_A_NUMBER = "not a number"
    OUT_OF_RANGE = "out of range"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    ENGINE_ERROR = "engine error"
    IMAGE_ERROR = "image error"


class Source(StrEnum):
    """Where a confidence comes from."""

    VERBALIZED = "verbalized"
    EXPECTED = "expected"
    LOGPROB = "logprob"
    SAMPLED = "sampled"
    DIRICHLET = "dirichlet"
    POSTHOC = "posthoc"
    CONSTANT = "constant"


class Held(StrEnum):
    """What a prediction set promises to hold: the label, or the answer of a rater drawn from those who vote."""

    LABEL = "label"
    RATER = "rater"


class Reason(StrEnum):
    """What a row's doubt comes from: nothing, people who differ about such a picture, or a picture unlike those that
    were learned from."""

    CLEAR = "clear"
    AMBIGUOUS = "ambiguous"
    UNFAMILIAR = "unfamiliar"


SIGNALS = ("blinded", "p-true", "per-candidate", "pairwise", "agreement", "turned", "along", "hidden")
"""What can be asked about an answer besides: see emocaliber.generation.signals."""


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One row per sample. In a file every key without a default must be there, and none but these may.

    `truth` is the dominant label, None where nobody gave one, `votes` the rater counts per label; `predicted` is None
    where no label could be read, and `confidence`, in [0, 1], is None where none could be read; `state` says why: "ok"
    needs both, any other state is judged as a refusal. `distribution` maps labels to shares that need not sum to
    exactly 1; `probability` is the predicted label's token probability where the engine gave one. `method` names who
    made the row, `group` (may be "") the part of a suite it belongs to, `cluster` what is resampled together. `raters`
    is how many answered `votes`, where some named none of the labels; `second_votes` are all answers of a second panel
    on the same picture.

    `prediction_set` holds what `set_holds` names with probability `set_coverage` (see calibration.sets); it may be
    empty. `doubt_people` and `doubt_unfamiliar` are two reasons for doubt, and `reason` the one that decides (see
    calibration.doubt). `signals` are numbers that were asked for about `predicted` (see generation.signals); `hidden`
    is the model's last hidden state where it wrote that label, as little-endian 16-bit floats (Base64 in JSON and
    CSV). `tokens` were generated, in so many `questions`, for all that the row holds.
    """

    id: str
    task: str
    group: str
    cluster: str
    truth: str | None
    predicted: str | None
    confidence: Share | None
    state: State
    source: Source
    method: str
    votes: dict[str, Count] | None = None
    distribution: dict[str, Share] | None = None
    probability: Share | None = None
    raters: Count | None = None
    second_votes: dict[str, Count] | None = None
    prediction_set: tuple[str, ...] | None = None
    set_coverage: Share | None = None
    set_holds: Held | None = None
    doubt_people: Share | None = None
    doubt_unfamiliar: Share | None = None
    reason: Reason | None = None
    signals: dict[str, float] | None = None
    hidden: bytes | None = None
    tokens: Count | None = None
    questions: Count | None = None


_MEND = (
    "; each line is one JSON object: 85 % is 0.85, what is missing is null with the state that says why (NaN and"
    " Infinity are not JSON)"
)


def read_predictions(path: Path, *, unlabelled: bool = False) -> Iterator[Prediction]:
    """The file's rows, in order, one at a time. Raises UserError naming file, line and key; unless `unlabelled`, also
    for a row without truth, which cannot be judged."""
    from emocaliber.core.prediction_files import is_columnar, read_columnar

    columnar = is_columnar(path)
    where = "row" if columnar else "line"
    for number, row in read_columnar(path) if columnar else decode_lines(path, Prediction):
        if problem := _problem(row):
            raise UserError(f"{path}, {where} {number}: {problem}")
        if row.truth is None and not unlabelled:
            raise UserError(f"{path}, {where} {number}: 'truth' is null: a row without a label cannot be judged")
        yield row


def decode_lines(path: Path, schema: type[_Schema]) -> Iterator[tuple[int, _Schema]]:
    """Each line's number, from 1, and its content; of a file that is one JSON list, its elements.

    Blank lines may stand at the end only. Raises UserError.
    """
    decode = msgspec.json.Decoder(schema).decode
    number, line = 0, b""
    try:
        with open_text(path) as file:
            for number, line in enumerate(_lines(file), 1):
                if line.isspace():
                    _refuse_more(file, path, number)
                    return
                yield number, decode(line)
    except msgspec.DecodeError as problem:
        where = f"{path}, line {number}"
        raise UserError(f"{where}: {problem}{_near(line, str(problem))}{_mend(str(problem), schema)}") from None
    except UnicodeDecodeError as problem:
        raise UserError(f"{path}, line {number} is not UTF-8 text: {problem}; save the file as UTF-8") from None


def write_predictions(path: Path, rows: Iterable[Prediction]) -> None:
    """Write the file in full or not at all. Raises ValueError for a row that the reader would refuse, naming its id."""
    write_atomically(path, (to_line(row) for row in rows))


def to_line(row: Prediction) -> bytes:
    """One line of the file, newline included. Optional keys that are None are left out."""
    return msgspec.json.encode(checked(row)) + b"\n"


def checked(row: Prediction) -> Prediction:
    """The row as a reader will find it. Raises ValueError, naming its id, where a reader would refuse it."""
    try:
        converted = msgspec.convert(msgspec.structs.asdict(row), Prediction)
    except msgspec.ValidationError as problem:
        raise ValueError(f"prediction {row.id!r}: {problem}") from None
    if wrong := _problem(converted):
        raise ValueError(f"prediction {row.id!r}: {wrong}")
    return converted


def _problem(row: Prediction) -> str | None:
    """What the schema cannot say."""
    if row.state is State.OK and (row.predicted is None or row.confidence is None):
        return "'state' is 'ok', but 'predicted' or 'confidence' is null; name the state that says what is missing"
    for key, votes in (("votes", row.votes), ("second_votes", row.second_votes)):
        if votes is not None and not any(votes.values()):
            return f"'{key}' holds no vote; leave the key out"
    if row.raters is not None and row.raters < max((row.votes or {}).values(), default=0):
        return f"{row.raters} 'raters' cannot have given the 'votes'"
    if row.distribution is not None and not any(row.distribution.values()):
        return "'distribution' has no positive share; leave the key out"
    return _problem_of_what_was_added(row)


def _problem_of_what_was_added(row: Prediction) -> str | None:
    if len(set(row.prediction_set or ())) < len(row.prediction_set or ()):
        return "'prediction_set' names a label twice; name each once"
    if wrong := [name for name, value in (row.signals or {}).items() if not isfinite(value)]:
        return f"'signals' holds {wrong[0]!r}, which is no finite number; leave out what is not known"
    if row.hidden is not None and (not row.hidden or len(row.hidden) % 2):
        return "'hidden' is not a row of 16-bit floats; leave the key out"
    return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines, or the elements where the first begins a JSON list that the file holds to its end."""
    first = file.readline()
    if first.lstrip()[:1] != b"[":
        yield from chain([first] if first else [], file)
        return
    yield from map(bytes, msgspec.json.decode(first + file.read(), type=list[msgspec.Raw]))


def _refuse_more(lines: Iterable[bytes], path: Path, blank: int) -> None:
    if not all(line.isspace() for line in lines):
        raise UserError(f"{path}, line {blank} is blank; delete it, or restore the row that stood there")


def _near(line: bytes, problem: str) -> str:
    """The text at the byte that a syntax error names: it has no key to name."""
    if not (place := re.search(r"\(byte (\d+)\)", problem)):
        return ""
    byte = int(place[1])
    return f" in {line[max(0, byte - 40) : byte + 10].decode(errors='replace').strip()!r}"


def _mend(problem: str, schema: type[msgspec.Struct]) -> str:
    """What would be right: the keys, an enumeration's values, or how a line is written."""
    if "unknown field" in problem or "missing required field" in problem:
        optional = ", ".join(field.name for field in msgspec.structs.fields(schema) if not field.required)
        required = ", ".join(field.name for field in msgspec.structs.fields(schema) if field.required)
        return f"; the keys are {required}" + (f", and optionally {optional}" if optional else "")
    if "Invalid enum value" in problem and (key := re.search(r"`\$\.(\w+)`", problem)):
        kinds = {field.name: field.type for field in msgspec.structs.fields(schema)}
        values = kinds.get(key[1])
        if isinstance(values, type) and issubclass(values, StrEnum):
            return f"; it is one of {', '.join(repr(value.value) for value in values)}"
    return _MEND
