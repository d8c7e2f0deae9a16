"""Image corruption of adjustable severity, and corrupted copies of a data set for training.

For corrupted feature views see eval.worlds.corrupted_views. Level 0 changes nothing, and corruption is deterministic
given the seed.

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
MOST = 0.6  # above this level, little is recognisable
CHUNK = 64
QUALITY = 90  # of JPEG


def corrupted_copies(rows: Iterable[Row], workers: int = 1) -> Iterator[Row]:
    """A copy of every row outside the split test, with its image corrupted. Kind and level (at most MOST) are random
    but determined by the row's id; the kind is appended to the copy's id.

    Label and votes stay the same, and so does the cluster, which keeps the copy in its original's split. JPEG and WEBP
    images are written as JPEG. Raises UserError naming the row if an image cannot be read, or if no row is outside the
    split test.
    """
    wanted = (row for row in rows if row.sample.split != "test")
    chunks = ((None, chunk) for chunk in iter(lambda: list(islice(wanted, CHUNK)), []))
    any_row = False
    for _, copies in map_ahead(chunks, copies_of, workers):
        any_row = True
        yield from copies
    if not any_row:
        raise UserError("there are no rows outside the split test, which is not corrupted")


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
    # Another seed than that of the corruption: otherwise the position of an occlusion would depend on its being drawn.
    chance = np.random.default_rng([_seed(sample), len(IMAGE_CORRUPTIONS)])
    kind = IMAGE_CORRUPTIONS[chance.integers(len(IMAGE_CORRUPTIONS))]
    corrupted = corrupted_image(image, kind, chance.uniform(0, MOST), _seed(sample))
    copy = _showing(sample, corrupted, "PNG" if form == "PNG" else "JPEG")
    return replace(row, sample=replace(copy, id=f"{copy.id}~{kind}"))


def corrupted_image(image: Image.Image, kind: ImageCorruption, level: float, seed: int = 0) -> Image.Image:
    """The RGB image corrupted at a level in [0, 1], at the same size:

    "noise" adds Gaussian noise with standard deviation 127 x level to every channel; "occlusion" covers a share `level`
    of the area with a grey rectangle; "blur" is Gaussian, with a radius of level x a quarter of the shorter side.
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
    """The sample with its image corrupted, seeded by its id; unchanged if the image cannot be read."""
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
