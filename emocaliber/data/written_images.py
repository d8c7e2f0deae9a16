"""Images as given in tables: file names from any operating system, data: URLs, grey levels as text.

file_name(Path("photos"), "faces\\\\1.png")      # faces/1.png, if that file exists
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image


def file_name(root: Path, written: str) -> str:
    """The name, if the file exists; otherwise stripped, with slashes for backslashes, and in the Unicode form (NFC, or
    NFD as on a Mac) of an existing file."""
    plain = "\\" not in written and written.isascii() and written == written.strip()
    if plain or "\0" in written or (root / written).exists():
        return written
    name = written.strip().replace("\\", "/").removeprefix("./")
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return name if name.isascii() else next((form for form in forms if (root / form).exists()), name)


def from_address(address: str) -> bytes | None:
    """The bytes in a data: URL; None if they are not base64."""
    try:
        return base64.b64decode(address.partition(",")[2], validate=True)
    except binascii.Error:
        return None


def from_pixels(text: str) -> bytes | None:
    """A square image given as grey levels in text, as PNG; None if the text is invalid."""
    parts = text.split()
    side = math.isqrt(len(parts))
    if side * side != len(parts) or not side or not all(p.isascii() and p.isdigit() and int(p) < 256 for p in parts):
        return None
    buffer = io.BytesIO()
    Image.fromarray(np.array(parts, np.uint8).reshape(side, side)).save(buffer, "PNG")
    return buffer.getvalue()
