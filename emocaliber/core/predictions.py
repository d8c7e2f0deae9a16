"""Prediction: the one row that every method writes and every evaluation reads, and its JSON Lines file.

Files hold one Prediction per line and are read and written as a stream; for Parquet and CSV see prediction_files. An
invalid line is an error that names file, line and key; nothing is skipped. For millions of rows as columns see
prediction_table.

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
from emocaliber.core.files import open_utf8, write_atomically

__all__ = ["Held", "Prediction", "Reason", "Source", "State", "read_predictions", "write_predictions"]

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
_Schema = TypeVar("_Schema", bound=msgspec.Struct)


class State(StrEnum):
    """Whether a row has a label and a confidence ("ok"), or why it lacks one."""

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
    """What a prediction set covers with its stated probability: the label, or the answer of a randomly drawn rater."""

    LABEL = "label"
    RATER = "rater"


class Reason(StrEnum):
    """Why a row is doubtful: not at all ("clear"), because raters disagree about such images ("ambiguous"), or because
    the image is unlike the training images ("unfamiliar")."""

    CLEAR = "clear"
    AMBIGUOUS = "ambiguous"
    UNFAMILIAR = "unfamiliar"


SIGNALS = ("blinded", "p-true", "per-candidate", "pairwise", "agreement", "turned", "along", "hidden", "relative")
"""The further confidence signals that can be elicited for an answer: see emocaliber.generation.signals."""


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One row per sample. In a file, every key without a default is required, and unknown keys are an error.

    `id`, `task`: the sample and its task. `group` (may be "") is the part of a suite that the sample belongs to;
    `cluster` names what is resampled together; `method` names what made the row.

    `truth` is the dominant label, None if nobody gave one; `votes` are rater counts per label. `raters` is how many
    raters answered, where some chose none of the labels; `second_votes` are all answers of a second panel of raters on
    the same image.

    `predicted` is None if no label could be read, `confidence`, in [0, 1], None if none could be read, and `state` says
    why: "ok" requires both, and any other state is scored as a refusal. `source` says how the confidence was obtained.
    `distribution` maps labels to shares, which need not sum to exactly 1; `probability` is the predicted label's token
    probability if the engine reports one.

    `prediction_set` covers what `set_holds` names with probability `set_coverage` (see calibration.sets); it may be
    empty. `doubt_people` and `doubt_unfamiliar` are two measures of doubt in [0, 1], and `reason` is the one that
    applies (see calibration.doubt). `signals` are further numbers elicited about `predicted` (see generation.signals);
    `hidden` is the model's last hidden state at that label, as little-endian 16-bit floats (Base64 in JSON and CSV).
    `tokens` generated tokens in `questions` requests were spent on the row.
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


_LINE_FORMAT = (
    "; each line is one JSON object: 85 % is 0.85, a missing value is null and the state says why (NaN and Infinity are"
    " not JSON)"
)


def read_predictions(path: Path, *, unlabelled: bool = False) -> Iterator[Prediction]:
    """The file's rows, in order, as a stream. Raises UserError naming file, line and key; also for a row without a
    truth, which cannot be scored, unless `unlabelled` allows it."""
    from emocaliber.core.prediction_files import is_columnar, read_columnar

    columnar = is_columnar(path)
    where = "row" if columnar else "line"
    for number, row in read_columnar(path) if columnar else decode_lines(path, Prediction):
        if problem := _problem(row):
            raise UserError(f"{path}, {where} {number}: {problem}")
        if row.truth is None and not unlabelled:
            raise UserError(
                f"{path}, {where} {number}: 'truth' is null: a row without a label cannot be scored; leave it out"
            )
        yield row


def decode_lines(path: Path, schema: type[_Schema]) -> Iterator[tuple[int, _Schema]]:
    """Each line's number, counted from 1, and its content; if the file is one JSON list, its elements.

    Blank lines are allowed at the end only. Raises UserError naming file, line and key.
    """
    decode = msgspec.json.Decoder(schema).decode
    number, line = 0, b""
    try:
        with open_utf8(path) as file:
            for number, line in enumerate(_lines(file), 1):
                if line.isspace():
                    _refuse_more(file, path, number)
                    return
                yield number, decode(line)
    except msgspec.DecodeError as problem:
        where = f"{path}, line {number}"
        raise UserError(
            f"{where}: {problem}{_near(line, str(problem))}{_how_to_correct(str(problem), schema)}"
        ) from None
    except UnicodeDecodeError as problem:
        raise UserError(f"{path}, line {number} is not UTF-8 text: {problem}; save the file as UTF-8") from None


def write_predictions(path: Path, rows: Iterable[Prediction]) -> None:
    """Write the file atomically. Raises ValueError, naming the row's id, for a row that the reader would reject."""
    write_atomically(path, (to_line(row) for row in rows))


def to_line(row: Prediction) -> bytes:
    """One line of the file, newline included. Optional keys that are None are left out."""
    return msgspec.json.encode(checked(row)) + b"\n"


def checked(row: Prediction) -> Prediction:
    """The row as the reader will return it. Raises ValueError, naming its id, if the reader would reject it."""
    try:
        converted = msgspec.convert(msgspec.structs.asdict(row), Prediction)
    except msgspec.ValidationError as problem:
        raise ValueError(f"prediction {row.id!r}: {problem}") from None
    if wrong := _problem(converted):
        raise ValueError(f"prediction {row.id!r}: {wrong}")
    return converted


def _problem(row: Prediction) -> str | None:
    """The first violated constraint that the schema cannot express, or None."""
    if row.state is State.OK and (row.predicted is None or row.confidence is None):
        return "'state' is 'ok', but 'predicted' or 'confidence' is null; name the state that says what is missing"
    for key, votes in (("votes", row.votes), ("second_votes", row.second_votes)):
        if votes is not None and not any(votes.values()):
            return f"'{key}' holds no vote; leave the key out"
    if row.raters is not None and row.raters < max((row.votes or {}).values(), default=0):
        return f"{row.raters} 'raters' cannot have given the 'votes'; correct either"
    if row.distribution is not None and not any(row.distribution.values()):
        return "'distribution' has no positive share; leave the key out"
    return _problem_of_added_fields(row)


def _problem_of_added_fields(row: Prediction) -> str | None:
    if len(set(row.prediction_set or ())) < len(row.prediction_set or ()):
        return "'prediction_set' names a label twice; name each once"
    if wrong := [name for name, value in (row.signals or {}).items() if not isfinite(value)]:
        return f"'signals' holds {wrong[0]!r}, which is not a finite number; leave out unknown values"
    if row.hidden is not None and (not row.hidden or len(row.hidden) % 2):
        return "'hidden' is not an array of 16-bit floats; leave the key out"
    return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines; or the elements, if the whole file is one JSON list."""
    first = file.readline()
    if first.lstrip()[:1] != b"[":
        yield from chain([first] if first else [], file)
        return
    yield from map(bytes, msgspec.json.decode(first + file.read(), type=list[msgspec.Raw]))


def _refuse_more(lines: Iterable[bytes], path: Path, blank: int) -> None:
    if not all(line.isspace() for line in lines):
        raise UserError(f"{path}, line {blank} is blank; delete it, or restore the missing row")


def _near(line: bytes, problem: str) -> str:
    """The text around the byte that a syntax error names, because there is no key to report."""
    if not (place := re.search(r"\(byte (\d+)\)", problem)):
        return ""
    byte = int(place[1])
    return f" in {line[max(0, byte - 40) : byte + 10].decode(errors='replace').strip()!r}"


def _how_to_correct(problem: str, schema: type[msgspec.Struct]) -> str:
    """How to correct the line: the allowed keys, an enumeration's values, or the format of a line."""
    if "unknown field" in problem or "missing required field" in problem:
        optional = ", ".join(field.name for field in msgspec.structs.fields(schema) if not field.required)
        required = ", ".join(field.name for field in msgspec.structs.fields(schema) if field.required)
        return f"; the keys are {required}" + (f", and optionally {optional}" if optional else "")
    if "Invalid enum value" in problem and (key := re.search(r"`\$\.(\w+)`", problem)):
        kinds = {field.name: field.type for field in msgspec.structs.fields(schema)}
        values = kinds.get(key[1])
        if isinstance(values, type) and issubclass(values, StrEnum):
            return f"; it is one of {', '.join(repr(value.value) for value in values)}"
    return _LINE_FORMAT
