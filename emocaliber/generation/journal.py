"""The journal: one line on disk for each finished response, so that a stopped run can resume.

Not the result: in the end the responses are written to another file, in the samples' order. Lines are found by a hash
of everything that may change an answer (image, question, model, adapter, settings, draw), so that with a changed
setting nothing is reused.

    with Journal(Path("out/journal.jsonl")) as journal:
        list(respond(samples, engine, template, journal=journal))
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType

import msgspec
import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.generation.engine import ENGINE_ERROR, IMAGE_ERROR, Response

MOST_FILES = 1 << 12  # journals that can be read beside each other
NEWEST = 1 << 16
READ = 1 << 12
_RETRIED = {ENGINE_ERROR, IMAGE_ERROR}


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    response: Response


def content_key(*parts: str | int | Sequence[str]) -> str:
    """The key of a question: 32 hex digits of the SHA-256 over everything that may change its answer."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class Journal:
    """An append-only file of finished responses; one process at a time.

    On opening, a truncated last line is cut off and unreadable lines are skipped: those samples are queried again.
    Engine and image errors are not stored, so that the next run retries them. `added` and `added_tokens` count what
    this process appended. The journals `beside` it, of other processes, are read once, on opening. Needs 16 bytes of
    memory an answer.

    Raises UserError where another run holds the file's lock, or the file cannot be opened.
    """

    def __init__(self, path: Path, beside: Sequence[Path] = ()) -> None:
        self.path = path
        self.added = 0
        self.added_tokens = 0
        self._places = _Places()
        self._appending = Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UserError(f"{path} cannot be opened for the journal: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise UserError(f"{path} is in use by another run; let it end, or write to another folder") from None
        self._files = [self._file, *(os.open(other, os.O_RDONLY) for other in beside)]
        for number, other in enumerate(beside, 1):
            self._read_places(other, number)
        self._end = self._read_places(path, 0)
        os.ftruncate(self._file, self._end)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            os.close(file)

    def find(self, key: str) -> Response | None:
        """The finished response to this question, or None. Safe to call from several threads."""
        with self._appending:
            place = self._places.get(key)
        if place is None:
            return None
        offset, number = divmod(place, MOST_FILES)
        line = _line_at(self._files[number], offset)
        return line.response if line.key == key else None

    def append(self, answers: Sequence[tuple[str, Response]]) -> None:
        """Append the answers and fsync; failed requests are left out. Safe to call from several threads."""
        with self._appending:
            self._append(answers)

    def _append(self, answers: Sequence[tuple[str, Response]]) -> None:
        finished = [(key, response) for key, response in answers if response.finish_reason not in _RETRIED]
        lines = [msgspec.json.encode(_Line(key, response)) + b"\n" for key, response in finished]
        _write_all(self._file, b"".join(lines))
        os.fsync(self._file)
        for (key, response), line in zip(finished, lines, strict=True):
            self.added += 1
            self.added_tokens += response.tokens
            self._places.add(key, self._end * MOST_FILES)
            self._end += len(line)

    def _read_places(self, path: Path, number: int) -> int:
        """Index the complete lines of a file; returns the offset after the last of them."""
        offset = 0
        with path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    self._places.add(msgspec.json.decode(line, type=_Line).key, offset * MOST_FILES + number)
                offset += len(line)
        return offset


class _Places:
    """A compact map from the first 64 bits of a key to an integer, the answer's offset and file; the last one added
    counts. Sorted arrays, and a dict of the newest entries that is merged into them when it grows.
    """

    def __init__(self) -> None:
        self._keys, self._values = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._newest: dict[int, int] = {}

    def __len__(self) -> int:
        self._merge()
        return len(self._keys)

    def get(self, key: str) -> int | None:
        number = _numbered(key)
        if (value := self._newest.get(number)) is not None:
            return value
        place = int(np.searchsorted(self._keys, np.uint64(number)))
        return int(self._values[place]) if place < len(self._keys) and self._keys[place] == number else None

    def add(self, key: str, value: int) -> None:
        self._newest[_numbered(key)] = value
        if len(self._newest) > max(NEWEST, len(self._keys) // 8):
            self._merge()

    def _merge(self) -> None:
        keys = np.concatenate([np.fromiter(self._newest, np.uint64, len(self._newest)), self._keys])
        values = np.concatenate([np.fromiter(self._newest.values(), np.int64, len(self._newest)), self._values])
        self._keys, first = np.unique(keys, return_index=True)  # of equals the first, which is the newest
        self._values, self._newest = values[first], {}


def _numbered(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")


def _line_at(file: int, offset: int) -> _Line:
    """The line that begins at an offset."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.pread(file, READ, offset + len(line))
        if not part:
            break
        line += part[: part.find(b"\n") + 1] or part
    return msgspec.json.decode(line, type=_Line)


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
