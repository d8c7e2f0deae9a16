"""What a picture is, whatever it is called: hashes of its bytes and of its look, a thumbnail, its size and format.

Not a comparison (see overlaps). Pictures are decoded in parallel, and what was found out is kept in a SQLite file, so
that a stopped run goes on where it was. The perceptual hash is imagehash's pHash (64 bits).

    python -c "from emocaliber.data.facts import look; print(look(open('face.png', 'rb').read()))"
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType

import imagehash
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, check_image, decode_image, image_hash, read_image_bytes
from emocaliber.core.samples import FileImage, ImageSource
from emocaliber.data.ahead import worked_ahead
from emocaliber.data.rows import Row

CHUNK = 64
THUMBNAIL = 16


@dataclass(frozen=True)
class Facts:
    """`content` SHA-256 in hex, `look` the pHash in 8 bytes, `thumbnail` 16x16 grey levels, size in pixels.

    Where the picture cannot be used, `fault` is one of emocaliber.core.images.FIXES, `sentence` says what is wrong,
    and the rest is empty.
    """

    content: str = ""
    look: bytes = b""
    thumbnail: bytes = b""
    width: int = 0
    height: int = 0
    format: str = ""
    fault: str = ""
    sentence: str = ""


def look(image: ImageSource) -> Facts:
    """The facts of one picture, or its fault."""
    try:
        encoded = read_image_bytes(image)
        name = image.name if isinstance(image, FileImage) else "image"
        kind, width, height = check_image(encoded, name)
        picture = decode_image(encoded, name)
    except ImageError as error:
        return Facts(fault=error.kind, sentence=str(error))
    grey = picture.convert("L")
    bits = imagehash.phash(grey).hash
    thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()
    packed = int("".join("1" if bit else "0" for bit in bits.flat), 2).to_bytes(8, "big")
    return Facts(image_hash(encoded), packed, thumbnail, width, height, kind)


class FactStore:
    """Facts by file (path, size and time of change) or by content, in a SQLite file that survives a kill.

    Faults are not kept: a mended file is looked at again. Raises UserError where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = "content TEXT, look BLOB, thumbnail BLOB, width INT, height INT, format TEXT"
        try:
            self._base = sqlite3.connect(path)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")  # safe against a kill; a power cut may cost the last rows
            self._base.execute(f"CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, {columns})")
        except sqlite3.Error as error:
            raise UserError(f"{path} cannot be used to keep the results: {error}; remove it or name another") from None

    def __enter__(self) -> FactStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._base.close()

    def find(self, key: str | None) -> Facts | None:
        """What is known of this key."""
        query = "SELECT content, look, thumbnail, width, height, format FROM facts WHERE key = ?"
        found = self._base.execute(query, (key,)).fetchone() if key else None
        return Facts(*found) if found else None

    def keep(self, found: Iterable[tuple[str | None, Facts]]) -> None:
        """Write facts: from here on they survive a kill."""
        rows = [(key, *astuple(facts)[:6]) for key, facts in found if key and not facts.fault]
        with self._base:
            self._base.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def facts_of(
    rows: Iterable[Row], store: FactStore, workers: int, on_progress: Callable[[int], None] = lambda count: None
) -> Iterator[tuple[Row, Facts]]:
    """Each row with its picture's facts, in order. `on_progress` is told how many more are done.

    At most a few chunks of rows are held at a time, so memory does not grow with their number.
    """
    source = iter(rows)
    chunks = (_Chunk(part, store) for part in iter(lambda: list(islice(source, CHUNK)), []))
    for chunk, found in worked_ahead(((chunk, chunk.unknown()) for chunk in chunks), look_at, workers):
        yield from chunk.finish(found, store, on_progress)


def look_at(images: Sequence[ImageSource]) -> list[Facts]:
    """The facts of several pictures."""
    return [look(image) for image in images]


class _Chunk:
    """A few rows, with what is known of them already."""

    def __init__(self, rows: Sequence[Row], store: FactStore) -> None:
        self.rows = rows
        self.keys = [_key(row.sample.image) for row in rows]
        self.known = [store.find(key) for key in self.keys]

    def unknown(self) -> list[ImageSource]:
        """The pictures that must be looked at."""
        return [row.sample.image for row, facts in zip(self.rows, self.known, strict=True) if facts is None]

    def finish(
        self, new: Sequence[Facts], store: FactStore, on_progress: Callable[[int], None]
    ) -> Iterator[tuple[Row, Facts]]:
        """Keep what is new, and give every row its facts."""
        fresh = iter(new)
        found = [facts or next(fresh) for facts in self.known]
        store.keep((key, facts) for key, facts, old in zip(self.keys, found, self.known, strict=True) if old is None)
        on_progress(len(self.rows))
        yield from zip(self.rows, found, strict=True)


def _key(image: ImageSource) -> str | None:
    """What a picture is kept under: None for a link and for what is not there, which are looked at each time."""
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    try:
        state = os.lstat(image.root / image.name)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    return f"{image.root.absolute() / image.name}|{state.st_size}|{state.st_mtime_ns}"
