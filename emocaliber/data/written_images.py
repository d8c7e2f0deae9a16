"""Images as given in tables: file names from any operating system, base64, grey levels.

file_name(Path("photos"), "faces\\\\1.png")      # faces/1.png, if that file exists
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from PIL import Image


def file_name(root: Path, written: str) -> str:
    """The name, if the file exists; otherwise stripped of spaces and of file://, with slashes for backslashes, and in
    the form (percent-decoded, NFC, or NFD as on a Mac) of an existing file."""
    plain = not set("\\%:") & set(written) and written.isascii() and written == written.strip()
    if plain or "\0" in written or (root / written).exists():
        return written
    name = written.strip().removeprefix("file://").replace("\\", "/").removeprefix("./")
    if "%" in name and (root / unquote(name)).exists():
        return unquote(name)
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return name if name.isascii() else next((form for form in forms if (root / form).exists()), name)


_ENCODED = ("iVBORw0KGgo", "/9j/", "UklGR")
"""How the base64 of a PNG, a JPEG and a WebP file begins."""
_SHORTEST = 100  # characters; a file name is shorter


def base64_in(text: str) -> str | None:
    """The base64 in a data: URL of a picture, or that is the text itself; None for a file's name."""
    if text.startswith("data:image/"):
        return text.partition(",")[2]
    return text if len(text) > _SHORTEST and text.startswith(_ENCODED) else None


def from_base64(written: str) -> bytes | None:
    """The bytes, of base64 in lines or for URLs too; None if it is neither."""
    plain = "".join(written.split()).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return None


def from_pixels(written: object) -> bytes | str:
    """A square image of grey levels, as PNG; a sentence where they are none. They may be text, as in fer2013.csv, or a
    list, of numbers or of rows."""
    if isinstance(written, list | tuple):
        parts = [str(level) for row in written for level in (row if isinstance(row, list | tuple) else (row,))]
    else:
        parts = re.sub(r"[\[\],;]", " ", str(written)).split()
    side = math.isqrt(len(parts))
    if side * side != len(parts) or not side:
        return f"{len(parts):,} values, which make no square"
    if odd := next((part for part in parts if not re.fullmatch(r"\d{1,3}(\.0*)?", part) or float(part) > 255), None):
        return f"{odd[:20]!r} is no grey level"
    buffer = io.BytesIO()
    Image.fromarray(np.array([int(float(part)) for part in parts], np.uint8).reshape(side, side)).save(buffer, "PNG")
    return buffer.getvalue()
