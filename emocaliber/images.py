"""Images: an image source opened, checked and turned into an 8-bit RGB picture, or one sentence that says why not.

Not a resizer: how many pixels a model sees is its processor's business. Nothing is fetched from the network, and a name
is not permission to read: a file is opened only under its data root.

    python -c "from emocaliber.images import load_image; print(load_image(open('face.png', 'rb').read()).size)"
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from emocaliber.samples import FileImage, ImageSource

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 40_000_000
MAX_BYTES = 100_000_000
MIN_SIDE = 4
"""Processors guess the channel axis of an array whose side is 1 or 3, and wrongly; so little shows nothing anyway."""
MAX_ASPECT = 200
"""Qwen's processors refuse a longer strip, and would take the whole batch down with it."""


class ImageError(ValueError):
    """One clear sentence: which image, what is wrong with it."""


def read_image_bytes(source: ImageSource) -> bytes:
    """The encoded file's bytes. A FileImage must be a regular file that lies, links followed, under its root.

    Raises ImageError.
    """
    if isinstance(source, bytes):
        return source
    path = _checked_path(source)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"{source.name}: {size:,} bytes are more than the {MAX_BYTES:,} allowed")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{source.name}: cannot be read ({error.strerror or error})") from error


def image_hash(encoded: bytes) -> str:
    """The SHA-256 of the encoded bytes, in hex: what a journal and a leakage check know an image by."""
    return hashlib.sha256(encoded).hexdigest()


def load_image(source: ImageSource) -> Image.Image:
    """The picture in 8-bit RGB, upright.

    PNG, JPEG and WEBP by content, whatever the name says; size is read from the header before a pixel is decoded.
    EXIF orientation is applied, transparency lies on white, 16 bits become 8, CMYK becomes RGB. An animation is
    refused: which of its frames was asked about, nobody can say. So are pictures under 4 pixels a side, over 40
    megapixels, or 200 times as long as wide.

    Raises ImageError.
    """
    return decode_image(read_image_bytes(source), source.name if isinstance(source, FileImage) else "image")


def decode_image(encoded: bytes, name: str = "image") -> Image.Image:
    """`load_image` for bytes that were read already; `name` is for the error's sentence. Raises ImageError."""
    if not encoded:
        raise ImageError(f"{name}: the file is empty")
    try:
        with Image.open(BytesIO(encoded), formats=FORMATS) as opened:
            _check_header(opened, name)
            return _to_rgb(ImageOps.exif_transpose(opened))
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a {', '.join(FORMATS)} image") from error
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception on damaged files
        raise ImageError(f"{name}: cannot be decoded ({str(error) or type(error).__name__})") from error


def _checked_path(source: FileImage) -> Path:
    if "://" in source.name:
        raise ImageError(f"{source.name}: images are read from files under the data root, never from an address")
    try:
        root = source.root.resolve(strict=True)
        path = (root / source.name).resolve(strict=True)
    except FileNotFoundError as error:
        raise ImageError(f"{source.name}: no such file under {source.root}") from error
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, a loop of links
        raise ImageError(f"{source.name!r}: not a usable file name ({error})") from error
    if not path.is_relative_to(root):
        raise ImageError(f"{source.name}: lies outside the data root {source.root}")
    if not path.is_file():
        raise ImageError(f"{source.name}: not a regular file")
    return path


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {width} x {height} pixels are more than the {MAX_PIXELS:,} allowed")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{name}: {width} x {height} pixels; at least {MIN_SIDE} a side are needed")
    if max(width, height) >= MAX_ASPECT * min(width, height):
        raise ImageError(f"{name}: {width} x {height} pixels; a strip this long is not shown to a model")
    frames = getattr(image, "n_frames", 1)  # absent from formats that cannot be animated
    if frames > 1:
        raise ImageError(f"{name}: an animation of {frames} frames; give a still picture")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: scaled, where Pillow's own conversion would clip at 255
        return image.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    if image.has_transparency_data:
        painted = image.convert("RGBA")
        white = Image.new("RGBA", painted.size, "white")
        return Image.alpha_composite(white, painted).convert("RGB")
    return image.convert("RGB")
