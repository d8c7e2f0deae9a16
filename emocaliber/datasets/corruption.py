"""Corruption of images at a level, and copies of a data set with corrupted pictures to learn from.

Not of views (see emocaliber.baselines.corruption). Level 0 changes nothing; the same seed gives the same corruption.

    emocaliber data corrupt photos.parquet --out photos-corrupted.parquet
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageFilter

from emocaliber.datasets.rows import Row
from emocaliber.errors import UserError
from emocaliber.images import FIXES, ImageError, load_image
from emocaliber.samples import Sample

ImageCorruption = Literal["noise", "occlusion", "blur"]
IMAGE_CORRUPTIONS: tuple[ImageCorruption, ...] = get_args(ImageCorruption)
MOST = 0.6  # beyond it little is left to see


def corrupted_copies(rows: Iterable[Row], most: float = MOST) -> Iterator[Row]:
    """A copy of every row that is not of the split test, with its picture corrupted; kind and level, up to `most`, are
    drawn by the row's id, and the kind ends the copy's id.

    Label and votes stay: they teach what is still likely of what is still to be seen. So does the cluster, which keeps
    a copy on its original's side. Raises UserError naming the row where a picture cannot be read.
    """
    for row in rows:
        if row.sample.split == "test":
            continue
        try:
            image = load_image(row.sample.image)
        except ImageError as error:
            raise UserError(f"{row.place}: image: {error}; {FIXES[error.kind]}") from error
        # Not the seed of the corruption itself: the place of a square would hang on its being a square.
        chance = np.random.default_rng([_seed(row.sample), len(IMAGE_CORRUPTIONS)])
        kind = IMAGE_CORRUPTIONS[chance.integers(len(IMAGE_CORRUPTIONS))]
        copy = _showing(row.sample, corrupted_image(image, kind, chance.uniform(0, most), _seed(row.sample)))
        yield replace(row, sample=replace(copy, id=f"{copy.id}~{kind}"))


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
    return _showing(sample, corrupted_image(image, kind, level, _seed(sample)))


def _showing(sample: Sample, image: Image.Image) -> Sample:
    file = io.BytesIO()
    image.save(file, "PNG")
    return replace(sample, image=file.getvalue())


def _seed(sample: Sample) -> int:
    return zlib.crc32(sample.id.encode(errors="surrogatepass"))
