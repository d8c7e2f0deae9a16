"""The journal: one line on the disk for each finished response, so that a stopped run goes on where it was.

Not the result: when all is answered, the responses are written out in the samples' order and the file is replaced
whole. Lines are known by content (image, question, model, adapter, settings, draw): a changed setting finds nothing
to reuse.

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

from emocaliber.core.errors import UserError
from emocaliber.generation.engine import ENGINE_ERROR, IMAGE_ERROR, Response

_RETRIED = {ENGINE_ERROR, IMAGE_ERROR}


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    response: Response


def content_key(*parts: str | int | Sequence[str]) -> str:
    """The key of a question: 32 hex digits of the SHA-256 over everything that may change its answer."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class Journal:
    """An append-only file of finished responses; one process at a time.

    On opening, a torn last line is cut off and unreadable lines are passed over: those samples are asked again.
    Engine and image errors are not kept, so that the next run tries them again. `added` and `added_tokens` count
    what was appended since. The journals `beside` it, of other processes, are read as they are now. Memory: the keys
    and offsets, not the texts.

    Raises UserError where another run holds the file, or it cannot be opened.

    """

    def __init__(self, path: Path, beside: Sequence[Path] = ()) -> None:
        self.path = path
        self.added = 0
        self.added_tokens = 0
        self._places: dict[str, tuple[int, int, int]] = {}  # the file's descriptor, offset and length
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
        self._beside = [os.open(other, os.O_RDONLY) for other in beside]
        for other, file in zip(beside, self._beside, strict=True):
            self._read_places(other, file)
        self._end = self._read_places(path, self._file)
        os.ftruncate(self._file, self._end)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Give the files back."""
        for file in (self._file, *self._beside):
            os.close(file)

    def find(self, key: str) -> Response | None:
        """The finished response to this question, or None. Safe to call from several threads."""
        place = self._places.get(key)
        if place is None:
            return None
        file, start, length = place
        return msgspec.json.decode(os.pread(file, length, start), type=_Line).response

    def append(self, answers: Sequence[tuple[str, Response]]) -> None:
        """Write the answers and wait until they are on the disk; failed requests are left out. Safe in threads."""
        with self._appending:
            self._append(answers)

    def _append(self, answers: Sequence[tuple[str, Response]]) -> None:
        kept = [(key, response) for key, response in answers if response.finish_reason not in _RETRIED]
        lines = [msgspec.json.encode(_Line(key, response)) + b"\n" for key, response in kept]
        _write_all(self._file, b"".join(lines))
        os.fsync(self._file)
        for (key, response), line in zip(kept, lines, strict=True):
            self.added += 1
            self.added_tokens += response.tokens
            self._places[key] = (self._file, self._end, len(line))
            self._end += len(line)

    def _read_places(self, path: Path, file: int) -> int:
        """Index the complete lines; the offset after the last of them."""
        offset = 0
        with path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    self._places[msgspec.json.decode(line, type=_Line).key] = (file, offset, len(line))
                offset += len(line)
        return offset


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
