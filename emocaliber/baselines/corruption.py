"""Corruption at a level, of views and of images: what a confidence must notice.

Not a training augmentation. Level 0 changes nothing; the same seed gives the same corruption, and a higher level of it
touches the rows that a lower one touched.

    python eval/benchmarks/baselines_corruption.py --out eval/results/baselines-corruption.md
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from emocaliber.baselines.views import Views, count_rows
from emocaliber.images import ImageError, load_image
from emocaliber.samples import Sample

ViewCorruption = Literal["noise", "missing", "conflict"]
ImageCorruption = Literal["noise", "occlusion", "blur"]
VIEW_CORRUPTIONS: tuple[ViewCorruption, ...] = get_args(ViewCorruption)
IMAGE_CORRUPTIONS: tuple[ImageCorruption, ...] = get_args(ImageCorruption)

Floats = npt.NDArray[np.floating]


def noisy(views: Views, names: Sequence[str], level: float, seed: int = 0) -> dict[str, Floats]:
    """Gaussian noise of `level` times each feature's deviation over these rows, on the named views."""
    count_rows(views)
    chance = np.random.default_rng(seed)
    drawn = {name: chance.standard_normal(views[name].shape) for name in names}
    return {
        name: values + level * np.nanstd(values, axis=0) * drawn[name] if name in drawn else values
        for name, values in views.items()
    }


def without(views: Views, names: Sequence[str], level: float, seed: int = 0) -> dict[str, Floats]:
    """The named views missing (rows of NaN) from a share `level` of the rows."""
    hit = _share(count_rows(views), level, seed)
    return {name: np.where(hit[:, None], np.nan, values) if name in names else values for name, values in views.items()}


def conflicting(
    views: Views, names: Sequence[str], labels: Sequence[object], level: float, seed: int = 0
) -> dict[str, Floats]:
    """On a share `level` of the rows, the named views swapped for those of a row with another label.

    `labels` [n]. Each row's donor is drawn among the rows of other labels; raises ValueError where there is none.
    """
    rows = count_rows(views)
    known = np.asarray(labels)
    if len(np.unique(known)) < 2:
        raise ValueError("a conflict needs rows of at least two labels")
    chance = np.random.default_rng([seed, 1])
    donor = np.array([chance.choice(np.flatnonzero(known != label)) for label in known])
    hit = _share(rows, level, seed)
    source = np.where(hit, donor, np.arange(rows))
    return {name: values[source] if name in names else values for name, values in views.items()}


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
    file = io.BytesIO()
    corrupted_image(image, kind, level, zlib.crc32(sample.id.encode())).save(file, "PNG")
    return replace(sample, image=file.getvalue())


def _share(rows: int, level: float, seed: int) -> npt.NDArray[np.bool_]:
    if not 0 <= level <= 1:
        raise ValueError(f"a share of rows is between 0 and 1, not {level}")
    order: npt.NDArray[np.bool_] = np.random.default_rng(seed).random(rows).argsort().argsort() < round(level * rows)
    return order
