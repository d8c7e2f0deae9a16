"""Pictures that users send: checked before they are decoded, kept in memory only, without EXIF, and not for long.

Not the reader of images (emocaliber.core.images), which checks them. No picture touches the disk; none is fetched.

    python -m pytest tests/chat/test_pictures.py
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from emocaliber.core.images import ImageError, decode_image
from emocaliber.core.resolution import shown

MOST_BYTES = 20_000_000
THUMBNAIL = 320
LONGEST_NAME = 80
SECONDS_KEPT = 600.0
MOST_KEPT = 64


@dataclass(frozen=True)
class Picture:
    """A checked picture: RGB, no more pixels than a model is shown; `thumbnail` is a data: URI made from it."""

    name: str
    image: Image.Image
    thumbnail: str


def read_picture(encoded: bytes, name: str) -> Picture:
    """Check, decode, and keep only the pixels. Raises ImageError with one sentence."""
    name = shown_name(name)
    if len(encoded) > MOST_BYTES:
        raise ImageError(f"{name}: {len(encoded):,} bytes are more than the {MOST_BYTES:,} allowed")
    image = shown(decode_image(encoded, name))
    image.info.clear()
    return Picture(name, image, thumbnail_uri(image))


def thumbnail_uri(image: Image.Image) -> str:
    """A small copy as a data: URI; WebP, pixels alone."""
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def shown_name(name: str) -> str:
    """A file's name for display alone: its last part, printable, not endless."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(character for character in last if character.isprintable()).strip()
    return kept[:LONGEST_NAME] or "picture"


class Waiting:
    """Pictures between their upload and the event that takes them, each under a name that nobody can guess."""

    def __init__(self, seconds: float = SECONDS_KEPT, most: int = MOST_KEPT) -> None:
        self._seconds, self._most = seconds, most
        self._kept: OrderedDict[str, tuple[float, Picture]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._forget()
            return len(self._kept)

    def add(self, picture: Picture) -> str:
        """Keep it; the oldest goes where there are too many. Returns the name to take it by."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._kept[token] = (time.monotonic(), picture)
            self._forget()
        return token

    def take(self, token: str) -> Picture | None:
        """The picture, which is forgotten here; None where there is none, or not any more."""
        with self._lock:
            self._forget()
            found = self._kept.pop(token, None)
        return None if found is None else found[1]

    def _forget(self) -> None:
        oldest = time.monotonic() - self._seconds
        while self._kept and (len(self._kept) > self._most or next(iter(self._kept.values()))[0] < oldest):
            self._kept.popitem(last=False)
