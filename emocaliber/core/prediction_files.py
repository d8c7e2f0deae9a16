"""The prediction file: JSON Lines, one Prediction a line, read and written as a stream.

Not a judge and not a parser of model text. `Line` is the schema; a bad line is an error that names file, line and
key, and nothing is skipped.

    emocaliber score predictions.jsonl
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
_Schema = TypeVar("_Schema", bound=msgspec.Struct)

_MEND = (
    "; each line is one object with the keys of emocaliber.core.prediction_files.Line: 85 % is 0.85, what is missing is"
    " null with the state that says why (NaN and Infinity are not JSON)"
)


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line: every key but the last three must be there, and no other may.

    `predicted` is null where no label could be read, `confidence` null where no number could be; `state` "ok" needs
    both, any other state is judged as a refusal. `group` may be "". `votes` maps labels to numbers of raters,
    `distribution` labels to shares that need not sum to exactly 1, `probability` is the predicted label's token
    probability.
    """

    id: str
    task: str
    group: str
    cluster: str
    truth: str
    predicted: str | None
    confidence: Share | None
    state: State
    source: Source
    method: str
    votes: dict[str, Count] | None = None
    distribution: dict[str, Share] | None = None
    probability: Share | None = None


def read_predictions(path: Path) -> Iterator[Prediction]:
    """The file's rows, in order, one at a time. Raises UserError naming file, line and key."""
    for line in read_lines(path):
        yield Prediction(**{name: getattr(line, name) for name in Line.__struct_fields__})


def read_lines(path: Path) -> Iterator[Line]:
    """The same rows as they stand in the file: three times as fast, for a million of them."""
    for number, line in decode_lines(path, Line):
        if problem := _problem(line):
            raise UserError(f"{path}, line {number}: {problem}")
        yield line


def decode_lines(path: Path, schema: type[_Schema]) -> Iterator[tuple[int, _Schema]]:
    """Each line's number, from 1, and its content. Blank lines may stand at the end only. Raises UserError."""
    decode = msgspec.json.Decoder(schema).decode
    number, line = 0, b""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.isspace():
                    _refuse_more(lines, path, number)
                    return
                yield number, decode(line)
    except msgspec.DecodeError as problem:
        raise UserError(f"{path}, line {number}: {problem}{_near(line, str(problem))}{_MEND}") from None
    except UnicodeDecodeError as problem:
        raise UserError(f"{path}, line {number} is not UTF-8 text: {problem}; save the file as UTF-8") from None
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None


def write_predictions(path: Path, rows: Iterable[Prediction]) -> None:
    """Write the file whole or not at all. Raises ValueError for a row that the reader would refuse, naming its id."""
    write_atomically(path, (to_line(row) for row in rows))


def to_line(row: Prediction) -> bytes:
    """One line of the file, newline included. Optional keys that are None are left out."""
    try:
        line = msgspec.convert({name: getattr(row, name) for name in Line.__struct_fields__}, Line)
    except msgspec.ValidationError as problem:
        raise ValueError(f"prediction {row.id!r}: {problem}") from None
    if wrong := _problem(line):
        raise ValueError(f"prediction {row.id!r}: {wrong}")
    return msgspec.json.encode(line) + b"\n"


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """Replace `path` by these bytes once all are on the disk: they go to a temporary file beside it first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _problem(line: Line) -> str | None:
    """What the schema cannot say."""
    if line.state is State.OK and (line.predicted is None or line.confidence is None):
        return "'state' is 'ok', but 'predicted' or 'confidence' is null; name the state that says what is missing"
    if line.votes is not None and not any(line.votes.values()):
        return "'votes' holds no vote; leave the key out"
    if line.distribution is not None and not any(line.distribution.values()):
        return "'distribution' has no positive share; leave the key out"
    return None


def _refuse_more(lines: Iterable[bytes], path: Path, blank: int) -> None:
    if not all(line.isspace() for line in lines):
        raise UserError(f"{path}, line {blank} is blank; delete it, or restore the row that stood there")


def _near(line: bytes, problem: str) -> str:
    """The text at the byte that a syntax error names: it has no key to name."""
    if not (place := re.search(r"\(byte (\d+)\)", problem)):
        return ""
    byte = int(place[1])
    return f" in {line[max(0, byte - 40) : byte + 10].decode(errors='replace').strip()!r}"
