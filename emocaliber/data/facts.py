"""Image facts: hashes of an image's bytes and pixels, its perceptual hash and thumbnail, its size and format.

Images are decoded in parallel, and their facts are cached in one SQLite file per user, so that checks, splits, training
runs and resumes decode an image only once. The file is `pictures.sqlite` in $EMOCALIBER_CACHE, by default
~/.cache/emocaliber; it may be removed at any time. The perceptual hash is imagehash's pHash (64 bits).

    python -c "from emocaliber.data.facts import look; print(look(open('face.png', 'rb').read()))"
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import imagehash
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, check_image, decode_image, image_name, read_image_bytes
from emocaliber.core.samples import ImageSource, StoredImage

CHUNK = 64
THUMBNAIL = 16
PIXELS = 16
"""Bytes of the hash of an image's pixels."""
_TABLE = "facts2"
_COLUMNS = "content BLOB, pixels BLOB, look BLOB, thumbnail BLOB, width INT, height INT, format TEXT"
_STORED = attrgetter("content", "pixels", "look", "thumbnail", "width", "height", "format")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one image: `content` is the SHA-256 of the file, `pixels` the first PIXELS bytes of the SHA-256 of
    its size and decoded RGB pixels, `look` the pHash (8 bytes), `thumbnail` 16x16 grey levels, then the size in pixels.

    For an unusable image, `fault` is a key of emocaliber.core.images.FIXES, `sentence` says what is wrong, and all
    other fields except `content` are empty (`content` too if no bytes could be read).
    """

    content: bytes = b""
    pixels: bytes = b""
    look: bytes = b""
    thumbnail: bytes = b""
    width: int = 0
    height: int = 0
    format: str = ""
    fault: str = ""
    sentence: str = ""


def look(image: ImageSource) -> Facts:
    """The facts of one image, or its fault."""
    encoded = b""
    try:
        encoded = read_image_bytes(image)
        kind, width, height = check_image(encoded, image_name(image))
        picture = decode_image(encoded, image_name(image))
    except ImageError as error:
        content = hashlib.sha256(encoded).digest() if encoded else b""
        return Facts(content, fault=error.kind, sentence=str(error))
    pixels = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).digest()[:PIXELS]
    grey = picture.convert("L")
    bits = imagehash.phash(grey).hash
    thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()
    packed = int("".join("1" if bit else "0" for bit in bits.flat), 2).to_bytes(8, "big")
    return Facts(hashlib.sha256(encoded).digest(), pixels, packed, thumbnail, width, height, kind)


def look_at(images: Sequence[ImageSource]) -> list[Facts]:
    """The facts of several images."""
    return [look(image) for image in images]


def cache_file() -> Path:
    """The path of the cache of image facts."""
    folder = os.environ.get("EMOCALIBER_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "emocaliber"
    return Path(folder).expanduser() / "pictures.sqlite"


class FactStore:
    """A cache of image facts in a SQLite file that survives a kill. The key of a file is its path, size and
    modification time; of an image in a Parquet file, that file's key and its position; of bytes, their hash.

    Faults are not cached, so that a corrected file is read again. If the default file cannot be created, facts are kept
    in memory. Raises UserError if a given file cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        place: Path | str = path or cache_file()
        try:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            Path(place).touch()
        except OSError:
            if path is not None:
                raise UserError(f"{path} cannot be written; name another folder") from None
            place = ":memory:"
        try:
            self._base = sqlite3.connect(place, timeout=120)
            self._base.execute("PRAGMA synchronous = OFF")  # safe against a kill; a power cut may cost the file
            self._base.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE} (key TEXT PRIMARY KEY, {_COLUMNS}) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise UserError(f"{place} cannot be used to keep the results: {error}; remove it") from None

    def __enter__(self) -> FactStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._base.close()

    def find(self, keys: Sequence[str | None]) -> list[Facts | None]:
        """The cached facts of each key, or None."""
        wanted = [key for key in keys if key]
        query = f"SELECT * FROM {_TABLE} WHERE key IN ({','.join('?' * len(wanted))})"
        known = {row[0]: Facts(*row[1:]) for row in self._base.execute(query, wanted)}
        return [known.get(key) if key else None for key in keys]

    def keep(self, learnt: Iterable[tuple[str | None, Facts]]) -> None:
        """Store facts durably."""
        rows = [(key, *_STORED(facts)) for key, facts in learnt if key and not facts.fault]
        with self._base:
            self._base.executemany(f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def facts_of(
    items: Iterable[T],
    image: Callable[[T], ImageSource],
    store: FactStore,
    workers: int,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[T, Facts]]:
    """Each item with its image's facts, in order. `on_progress` receives the number of items just finished.

    Only a few chunks of items are in memory at a time.
    """
    source = iter(items)

    def chunks() -> Iterator[tuple[_Chunk[T], list[ImageSource]]]:
        while part := list(islice(source, CHUNK)):
            images = [image(item) for item in part]
            keys = picture_keys(images)
            known = store.find(keys)
            new = [picture for picture, facts in zip(images, known, strict=True) if facts is None]
            yield (part, keys, known), new

    for (part, keys, known), learnt in map_ahead(chunks(), look_at, workers):
        fresh = iter(learnt)
        complete = [facts or next(fresh) for facts in known]
        if learnt:
            store.keep((key, facts) for key, facts, old in zip(keys, complete, known, strict=True) if old is None)
        on_progress(len(part))
        yield from zip(part, complete, strict=True)


_Chunk = tuple[list[T], list[str | None], list[Facts | None]]


def carry_over(store: FactStore, keys: Sequence[str | None], written: Sequence[ImageSource]) -> None:
    """Store the facts known under `keys` for the images' new locations, `written`, too."""
    for start in range(0, len(keys), CHUNK):
        known = store.find(keys[start : start + CHUNK])
        places = written[start : start + CHUNK]
        store.keep((key, facts) for key, facts in zip(picture_keys(places), known, strict=True) if facts)


def picture_keys(images: Sequence[ImageSource]) -> list[str | None]:
    """The cache keys of images; a file that contains several is looked up only once."""
    files = {file: _file_key(file) for file in {image.file for image in images if isinstance(image, StoredImage)}}
    keys: list[str | None] = []
    for image in images:
        if isinstance(image, StoredImage):
            file = files[image.file]
            keys.append(file and f"{file}|{image.column}|{image.group}|{image.row}")
        else:
            keys.append(picture_key(image))
    return keys


def picture_key(image: ImageSource) -> str | None:
    """The cache key of an image; None for links and missing files, which are not cached."""
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    return picture_keys([image])[0] if isinstance(image, StoredImage) else _file_key(image.root / image.name)


def _file_key(path: Path) -> str | None:
    try:
        state = os.lstat(path)
    except (OSError, ValueError):
        return None
    return f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}" if stat.S_ISREG(state.st_mode) else None


Local = TypeVar("Local")
Task = TypeVar("Task", bound=Sequence[Any])
Result = TypeVar("Result")

_AHEAD = 4  # chunks in flight per worker
_HERE = 4  # chunks processed in this process before workers are started


def map_ahead(
    chunks: Iterable[tuple[Local, Task]], work: Callable[[Task], Result], workers: int
) -> Iterator[tuple[Local, Result]]:
    """Apply `work` to the second part of each pair in worker processes, in order; the first part is passed through.

    `work` must be importable. With fewer than two workers everything runs in this process, as do empty tasks and the
    first few, which finish sooner than workers start. Only a few chunks per worker are in memory.
    """
    context = get_context("forkserver")  # forking a process with threads can deadlock
    context.set_forkserver_preload([work.__module__])
    begun, pool = 0, None
    waiting: deque[tuple[Local, Future[Result]]] = deque()
    with ExitStack() as stack:
        for local, task in chunks:
            if not task or begun < _HERE or workers < 2:
                begun += bool(task)
                waiting.append((local, _done(work(task))))
            else:
                pool = pool or stack.enter_context(ProcessPoolExecutor(workers, context))
                waiting.append((local, pool.submit(work, task)))
            if len(waiting) >= (_AHEAD * workers if pool else 1):
                first, future = waiting.popleft()
                yield first, future.result()
        for local, future in waiting:
            yield local, future.result()


def _done(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future
