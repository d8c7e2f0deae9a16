"""Images: open and check an image source and convert it to 8-bit RGB, or raise a one-sentence ImageError.

`downscale` bounds the resolution that a model sees. Nothing is fetched from the network, and a name is not
permission to read: files are opened only under their data root.

    python -c "from emocaliber.core.images import load_image; print(load_image(open('face.png', 'rb').read()).size)"
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from math import sqrt
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from emocaliber.core.samples import FileImage, ImageSource, StoredImage
from emocaliber.core.stored_images import read_stored

SHOWN_PIXELS = 576 * 28 * 28
"""The default limit: EmoCaliber's MAX_PIXELS in training (arXiv 2512.15528, train/step1_example.sh), 576 patches of 28
by 28, or 451,584. A recipe's `max_pixels` overrides it; the value used in training is stored in emocaliber.json."""

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 40_000_000
MAX_BYTES = 100_000_000
MIN_SIDE = 4
"""Processors misjudge the channel axis of an array with a side of 1 or 3; so small an image shows nothing anyway."""
STRIP = 256
MAX_ASPECT = 200
"""Qwen's processors reject a more elongated image, and the whole batch fails with it."""


FIXES = {
    "missing image": "correct the name, or add the file",
    "image outside the root": "copy the file under the data root and name it from there",
    "image by address": "download it first and give the file name",
    "empty image": "replace the file",
    "not an image": f"replace it with a {', '.join(FORMATS)} file",
    "unreadable image": "replace the file; opening it in a viewer and saving it again may help",
    "oversized image": "scale it down",
    "undersized image": "take a larger one, or drop the row",
    "animated image": "save one frame as a still picture",
}
"""Each kind of fault, and how to fix it."""


class ImageError(ValueError):
    """One sentence saying which image is at fault and why. `kind` is a key of FIXES, for counting by kind."""

    def __init__(self, message: str, kind: str = "unreadable image") -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        """Pickle both arguments, so that the error survives the trip between processes."""
        return type(self), (str(self), self.kind)


def read_image_bytes(source: ImageSource) -> bytes:
    """The encoded image's bytes. A FileImage must be a regular file that, with links resolved, lies under its root.

    Raises ImageError.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, StoredImage):
        try:
            return read_stored(source)
        except OSError as error:
            raise ImageError(f"{image_name(source)}: cannot be read ({error.strerror or error})") from error
    path = _checked_path(source)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(
                f"{source.name}: {size:,} bytes are more than the {MAX_BYTES:,} allowed", "oversized image"
            )
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{source.name}: cannot be read ({error.strerror or error})", "unreadable image") from error


def image_name(source: ImageSource) -> str:
    """A name for the image in messages."""
    match source:
        case FileImage():
            return source.name
        case StoredImage():
            return f"{source.file.name}, row {source.row} of row group {source.group}"
    return "image"


def image_hash(encoded: bytes) -> str:
    """The SHA-256 of the encoded bytes, in hex: how the journal and the leakage check identify an image."""
    return hashlib.sha256(encoded).hexdigest()


def load_image(source: ImageSource, max_pixels: int = SHOWN_PIXELS) -> Image.Image:
    """The image in 8-bit RGB, upright, with at most `max_pixels` pixels.

    The format (PNG, JPEG or WEBP) is recognised by content, not by file name, and the size is checked from the header
    before any pixel is decoded. EXIF orientation is applied, transparency is composited on white, 16-bit samples are
    scaled to 8, CMYK becomes RGB. Of a photograph with an embedded second image (MPO: a phone's preview or gain map)
    the first is taken. Animations are refused, because the row does not say which frame it is about; so are images with
    a side under 4 pixels, with over 40 megapixels, or at least 200 times as long as wide.

    Raises ImageError.
    """
    return downscale(decode_image(read_image_bytes(source), image_name(source)), max_pixels)


def decode_image(encoded: bytes, name: str = "image") -> Image.Image:
    """As `load_image`, but for bytes already read, and at full size; `name` appears in error messages."""
    with _open(encoded, name) as image:
        ImageOps.exif_transpose(image, in_place=True)  # a copy of 40 megapixels would be 160 MB
        return _to_rgb(image)


@contextmanager
def _open(encoded: bytes, name: str) -> Iterator[Image.Image]:
    """The opened image with its header checked; any error inside the block becomes an ImageError."""
    if not encoded:
        raise ImageError(f"{name}: the file is empty", "empty image")
    try:
        with Image.open(BytesIO(encoded), formats=_formats(encoded)) as image:
            _check_header(image, name)
            yield image
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # far above our own limit, Pillow's own check comes first
        detail = f"more than the {MAX_PIXELS:,} pixels allowed: {error}"
        raise ImageError(f"{name}: {detail}", "oversized image") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a {', '.join(FORMATS)} image{_what_instead(encoded)}", "not an image") from error
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception on damaged files
        detail = str(error) or type(error).__name__
        if "decompressed data too large" in detail.casefold():  # Pillow's message names an internal constant
            detail = "its text or colour profile is unusually large; save it without metadata"
        raise ImageError(f"{name}: cannot be decoded ({detail})", "unreadable image") from error


def _what_instead(encoded: bytes) -> str:
    """What bytes that are no image are instead, to append to a message; "" if unknown."""
    if encoded.startswith(b"version https://git-lfs"):
        return "; it is a pointer of Git LFS: fetch the file by `git lfs pull`"
    if encoded[:200].lstrip().lower().startswith((b"<html", b"<!doctype html")):
        return "; it is a web page"
    if _is_heic(encoded):
        return (
            "; it is an HEIC or AVIF image, as phones take them: save it as JPEG, or for HEIC run pip install"
            " 'emocaliber[heic]'"
        )
    return ""


def _formats(encoded: bytes) -> tuple[str, ...]:
    """FORMATS, and HEIF if the file is one and its decoder (extra `heic`) is installed."""
    if not _is_heic(encoded) or find_spec("pillow_heif") is None:
        return FORMATS
    import pillow_heif

    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def _is_heic(encoded: bytes) -> bool:
    """Whether the bytes start like an HEIC or AVIF file (ISO/IEC 23008-12): an "ftyp" box with one of their brands."""
    return encoded[4:8] == b"ftyp" and encoded[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")


def check_image(encoded: bytes, name: str = "image") -> tuple[str, int, int]:
    """Format, width and height from the header alone: no pixel is decoded. Raises ImageError as `load_image` would."""
    with _open(encoded, name) as image:
        return "JPEG" if image.format == "MPO" else str(image.format), *image.size


def _checked_path(source: FileImage) -> Path:
    if "://" in source.name:
        raise ImageError(
            f"{source.name}: images are read from files under the data root, never from a URL", "image by address"
        )
    try:
        root = source.root.resolve(strict=True)
        path = (root / source.name).resolve(strict=True)
    except FileNotFoundError as error:
        raise ImageError(
            f"{source.name[:200]}: no such file under {source.root}{_hint(source)}", "missing image"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, a symlink loop
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"{source.name[:200]!r}: not a usable file name ({reason})", "missing image") from error
    if not path.is_relative_to(root):
        raise ImageError(f"{source.name}: lies outside the data root {source.root}", "image outside the root")
    if not path.is_file():
        raise ImageError(f"{source.name}: not a regular file", "missing image")
    return path


def _hint(source: FileImage) -> str:
    """Why a file may be missing: the path comes from another machine or from Windows, or a file of that name lies
    elsewhere below the root, or its name differs in case or extension."""
    name = source.name.replace("\\", "/")
    if ".." in Path(name).parts:
        return ""
    foreign = re.match(r"([A-Za-z]:)?/+", name)
    tails = [Path(*Path(name).parts[start:]) for start in range(1, len(Path(name).parts))] if foreign else []
    for tail in (Path(name), *tails):
        if existing := _similar_file(source.root, tail):
            return f"; did you mean {existing}?"
    if foreign:
        kind = "a path on a Windows disk" if foreign[1] else "an absolute path"
        return f" ({kind}: name it relative to the data root)"
    return " (backslashes separate folders on Windows only)" if "\\" in source.name else ""


def _similar_file(root: Path, name: Path) -> str | None:
    """An existing file whose name differs only in case or by a missing extension, or that lies one folder deeper."""
    folder = root
    for part in name.parts[:-1]:
        folder = folder / _names_in(folder).get(part.casefold(), part)
    wanted = name.name.casefold()
    if existing := _names_in(folder).get(wanted) or _names_in(folder, stems=True).get(wanted):
        return (folder / existing).relative_to(root).as_posix()
    deeper = [inner for inner in _names_in(root).values() if "." not in inner and (root / inner / name).is_file()]
    return f"{deeper[0]}/{name.as_posix()}, with --root {root / deeper[0]}" if len(deeper) == 1 else None


@lru_cache(maxsize=64)
def _names_in(folder: Path, *, stems: bool = False) -> dict[str, str]:
    """The names in a folder by their case-folded form, or by that without extension; empty if there is no folder."""
    try:
        return {(path.stem if stems else path.name).casefold(): path.name for path in folder.iterdir()}
    except OSError:
        return {}


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than the {MAX_PIXELS:,} allowed", "oversized image"
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{name}: {width} x {height} pixels; each side needs at least {MIN_SIDE}", "undersized image")
    if max(width, height) >= MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{name}: {width} x {height} pixels; models do not take an image this elongated", "undersized image"
        )
    frames = getattr(image, "n_frames", 1)  # missing in formats without animation
    if frames > 1 and image.format != "MPO":
        raise ImageError(f"{name}: an animation of {frames} frames; give a still image", "animated image")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: scaled, where Pillow's own conversion would clip at 255
        grey = image.convert("I")
        if isinstance(clear := image.info.get("transparency"), int):
            grey = Image.fromarray(np.where(np.asarray(grey) == clear, 65535, np.asarray(grey)).astype(np.int32))
        return grey.point(lambda value: value / 257).convert("L").convert("RGB")
    if image.has_transparency_data:
        painted = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", painted.size, "white")
        for top in range(0, painted.height, STRIP):  # in strips, to avoid a second copy of a large image
            strip = painted.crop((0, top, painted.width, min(top + STRIP, painted.height)))
            white.paste(strip, (0, top), mask=strip)
        return white
    return image.convert("RGB")


def downscale(image: Image.Image, max_pixels: int = SHOWN_PIXELS) -> Image.Image:
    """The image scaled down to at most `max_pixels`, aspect ratio kept; the same object if it is small enough."""
    width, height = image.size
    if width * height <= max_pixels:
        return image
    scale = sqrt(max_pixels / (width * height))
    smaller = (max(1, int(width * scale)), max(1, int(height * scale)))
    return image.resize(smaller, Image.Resampling.BICUBIC, reducing_gap=2.0)
