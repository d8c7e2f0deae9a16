"""Files as bytes: read through gzip and byte-order marks, written in full or not at all.

with open_text(Path("rows.csv.gz")) as lines: ...
write_atomically(Path("scorecard.json"), [content])
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from emocaliber.core.errors import UserError

GZIP = b"\x1f\x8b"


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes as UTF-8 without a byte-order mark, to be read line by line or with `peek`.

    gzip is unpacked, and UTF-16 with its mark is encoded anew. Raises UserError naming a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            unpacked = io.BufferedReader(_gzip(file)) if file.peek(2)[:2] == GZIP else file
            yield _without_mark(unpacked)
    except (OSError, EOFError) as problem:
        why = problem.strerror if isinstance(problem, OSError) and problem.strerror else problem
        raise UserError(f"{path} cannot be read: {why}") from None


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


def _gzip(file: BinaryIO) -> io.RawIOBase:
    return cast(io.RawIOBase, gzip.GzipFile(fileobj=file))


def _without_mark(file: BinaryIO) -> BinaryIO:
    head = cast(io.BufferedReader, file).peek(3)
    if head.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return cast(BinaryIO, io.BufferedReader(io.BytesIO(file.read().decode("utf-16").encode())))
    return file
