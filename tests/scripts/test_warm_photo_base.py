"""The warming of the photo base: tower and projector learn what pictures show, the language model stays as it is."""

from __future__ import annotations

from argparse import Namespace
from io import BytesIO

import pytest
import torch
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from scripts.warm_photo_base import disturbed, warm
from tests.stages.families import FAMILIES

LABELS = ("anger", "joy")


def square(number: int, split: str, votes: bool = True) -> Sample:
    """A red square is anger to nine raters of ten, a blue one joy."""
    red = number % 2 == 0
    buffer = BytesIO()
    Image.new("RGB", (32, 32), (200 + number % 40, 20, 20) if red else (20, 20, 200 + number % 40)).save(buffer, "PNG")
    shares = {"anger": 9, "joy": 1} if red else {"anger": 1, "joy": 9}
    return Sample(
        str(number), buffer.getvalue(), "squares", LABELS, "anger" if red else "joy", split, "a square", str(number),
        votes=shares if votes else None,
    )  # fmt: skip


def chosen() -> Namespace:
    return Namespace(data="squares.parquet", epochs=6, batch=8, seed=0, bf16=False)


def test_the_nearest_word_becomes_the_raters_favourite_and_the_language_model_is_not_touched() -> None:
    torch.manual_seed(0)
    model, processor = FAMILIES["internvl"]()
    before = {name: weight.clone() for name, weight in model.model.language_model.named_parameters()}
    samples = [square(number, "train" if number < 64 else "calibrate") for number in range(80)]
    first, *_, last = warm(model.train(), processor, samples, chosen())
    assert last["loss"] < first["loss"]
    assert last["calibrate_accuracy"] == 1
    assert all(torch.equal(weight, before[name]) for name, weight in model.model.language_model.named_parameters())


def test_rows_without_votes_are_refused_with_the_file() -> None:
    model, processor = FAMILIES["internvl"]()
    with pytest.raises(UserError, match=r"squares\.parquet: no row has votes"):
        warm(model, processor, [square(0, "train", votes=False)], chosen())
    with pytest.raises(UserError, match=r"squares\.parquet: no row of split calibrate has votes"):
        warm(model, processor, [square(0, "train")], chosen())


def test_a_disturbed_face_keeps_its_size_and_its_colours() -> None:
    pixels = torch.arange(32, dtype=torch.uint8).expand(2, 3, 32, 32)
    moved = disturbed(pixels, torch.Generator().manual_seed(0))
    assert moved.shape == pixels.shape
    assert not torch.equal(moved, pixels)
    assert set(moved.unique().tolist()) <= set(range(32))
