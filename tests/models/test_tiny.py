"""The shipped tiny backbone is a real, small Qwen2.5-VL whose tokens are what the stages need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen2_5_VLForConditionalGeneration

from emocaliber.core.prompting import LEVEL_TEXTS, load_template, messages
from emocaliber.core.taxonomy import KAOMOJI_10, SENTIMENT_3
from emocaliber.models.location import embedded_base
from scripts.tiny_world.backbone import TAGS
from scripts.tiny_world.base import patches

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(embedded_base())


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForImageTextToText.from_pretrained(embedded_base())


def test_it_has_the_flagships_architecture_at_a_thousandth_of_its_size(model: Any) -> None:
    assert isinstance(model, Qwen2_5_VLForConditionalGeneration)
    assert 1e6 <= sum(p.numel() for p in model.parameters()) <= 8e6


def test_its_weights_are_safetensors_within_16_megabytes() -> None:
    files = list(Path(embedded_base()).iterdir())
    assert not [f for f in files if f.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    assert sum(f.stat().st_size for f in files) <= 16 * MEGABYTE


@pytest.mark.parametrize("text", [*TAGS, *LEVEL_TEXTS, *KAOMOJI_10.labels, *SENTIMENT_3.labels])
def test_tags_levels_and_labels_are_one_token_and_are_decoded(processor: Any, text: str) -> None:
    ids = processor.tokenizer(text)["input_ids"]
    assert len(ids) == 1
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_answers_survive_the_tokenizer(processor: Any) -> None:
    text = load_template("label-confidence").write(label="happy", confidence=0.85)
    ids = processor.tokenizer(text)["input_ids"]
    assert len(ids) == 6
    assert processor.tokenizer.decode(ids) == text


def test_the_base_was_taught_on_the_processors_own_pixels(processor: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 280, 3), dtype=np.uint8)
    text = processor.apply_chat_template(messages("x"), tokenize=False)
    seen = processor(text=[text], images=[Image.fromarray(pixels)], return_tensors="pt")
    assert seen["image_grid_thw"].tolist() == [[1, 2, 20]]
    assert torch.allclose(torch.from_numpy(patches(pixels)), seen["pixel_values"], atol=1e-5)


def test_a_kaomoji_is_ten_image_tokens_and_an_emoji_four(processor: Any) -> None:
    text = processor.apply_chat_template(messages("x"), tokenize=False)
    image = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    for size, tokens in (((280, 28), 10), ((64, 64), 4)):
        seen = processor(text=[text], images=[Image.new("RGB", size)], return_tensors="pt")
        assert int((seen["input_ids"] == image).sum()) == tokens
