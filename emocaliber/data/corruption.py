"""Corruption of images at a level, and copies of a data set with corrupted pictures to learn from.

Not of views (see eval.worlds.corrupted_views). Level 0 changes nothing; the same seed gives the same corruption.

    emocaliber data corrupt photos.parquet --out photos-corrupted.parquet
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageFilter

from emocaliber.core.errors import UserError
from emocaliber.core.images import (
    FIXES,
    ImageError,
    check_image,
    decode_image,
    downscale,
    image_name,
    load_image,
    read_image_bytes,
)
from emocaliber.core.samples import Sample
from emocaliber.data.facts import map_ahead
from emocaliber.data.rows import Row

ImageCorruption = Literal["noise", "occlusion", "blur"]
IMAGE_CORRUPTIONS: tuple[ImageCorruption, ...] = get_args(ImageCorruption)
MOST = 0.6  # beyond it little is left to see
CHUNK = 64
QUALITY = 90  # of JPEG


def corrupted_copies(rows: Iterable[Row], workers: int = 1) -> Iterator[Row]:
    """A copy of every row that is not of the split test, with its picture corrupted; kind and level, up to MOST, are
    drawn by the row's id, and the kind ends the copy's id.

    Label and votes stay: they teach what is still likely of what is still to be seen. So does the cluster, which keeps
    a copy on its original's side. A picture that came as JPEG or WEBP is written as JPEG. Raises UserError naming the
    row where a picture cannot be read, or where no row is of another split.
    """
    wanted = (row for row in rows if row.sample.split != "test")
    chunks = ((None, chunk) for chunk in iter(lambda: list(islice(wanted, CHUNK)), []))
    any_row = False
    for _, copies in map_ahead(chunks, copies_of, workers):
        any_row = True
        yield from copies
    if not any_row:
        raise UserError("no row may be learned from: all are of split test, which is not corrupted, or there are none")


def copies_of(rows: Sequence[Row]) -> list[Row]:
    """The corrupted copies of these rows."""
    return [_copy(row) for row in rows]


def _copy(row: Row) -> Row:
    sample = row.sample
    name = image_name(sample.image)
    try:
        encoded = read_image_bytes(sample.image)
        form, _, _ = check_image(encoded, name)
        image = downscale(decode_image(encoded, name))
    except ImageError as error:
        raise UserError(f"{row.place}: image: {error}; {FIXES[error.kind]}") from error
    # Not the seed of the corruption itself: the place of a square would hang on its being a square.
    chance = np.random.default_rng([_seed(sample), len(IMAGE_CORRUPTIONS)])
    kind = IMAGE_CORRUPTIONS[chance.integers(len(IMAGE_CORRUPTIONS))]
    corrupted = corrupted_image(image, kind, chance.uniform(0, MOST), _seed(sample))
    copy = _showing(sample, corrupted, "PNG" if form == "PNG" else "JPEG")
    return replace(row, sample=replace(copy, id=f"{copy.id}~{kind}"))


def corrupted_image(image: Image.Image, kind: ImageCorruption, level: float, seed: int = 0) -> Image.Image:
    """The RGB image of the same size with, at a level in [0, 1]:

    noise of deviation 127 x level on every channel; a grey square on a share `level` of the area (the side cut to fit);
    or a Gaussian blur of radius a quarter of the shorter side x level.
    """
    if level == 0:
        return image.copy()
    chance = np.random.default_rng(seed)
    if kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(level * min(image.size) / 4))
    pixels = np.asarray(image, np.float64)
    if kind == "noise":
        pixels = np.clip(pixels + chance.normal(0, 127 * level, pixels.shape), 0, 255)
        return Image.fromarray(pixels.round().astype(np.uint8))
    height, width = pixels.shape[:2]
    tall, wide = round(height * level**0.5), round(width * level**0.5)
    top, left = chance.integers(height - tall + 1), chance.integers(width - wide + 1)
    covered = pixels.astype(np.uint8)
    covered[top : top + tall, left : left + wide] = 128
    return Image.fromarray(covered)


def corrupted_sample(sample: Sample, kind: ImageCorruption, level: float) -> Sample:
    """The sample with its picture corrupted, the seed taken from its id; what cannot be read stays as it is."""
    try:
        image = load_image(sample.image)
    except ImageError:
        return sample
    return _showing(sample, corrupted_image(image, kind, level, _seed(sample)), "PNG")


def _showing(sample: Sample, image: Image.Image, form: str) -> Sample:
    file = io.BytesIO()
    image.save(file, form, quality=QUALITY)
    return replace(sample, image=file.getvalue())


def _seed(sample: Sample) -> int:
    return zlib.crc32(sample.id.encode(errors="surrogatepass"))
