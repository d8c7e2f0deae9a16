"""Kept features give the same logits as pixels, and the tower sees each picture once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emocaliber.core.prompting import messages
from emocaliber.stages.fast.families import vision_holder
from emocaliber.stages.fast.feature_cache import feature_processor
from tests.stages.families import FAMILIES

LIMIT = 10_000_000


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = [(56, 28), (140, 28), (56, 84), (28, 56)]
    return [Image.fromarray(random.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def encoded(processor: Any, images: list[Image.Image]) -> Any:
    texts = [
        processor.apply_chat_template(messages(f"Which feeling is it{'?' * n}"), add_generation_prompt=True)
        for n in range(len(images))
    ]
    return processor(text=texts, images=[[image] for image in images], padding=True, return_tensors="pt")


@pytest.mark.parametrize("family", ["qwen2.5-vl", "qwen3-vl", "internvl"])
def test_the_same_logits_and_the_same_answer_come_from_features_as_from_pixels(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    model.eval()
    plain = encoded(processor, pictures())
    with torch.no_grad():
        wanted = model(**plain).logits
        answers = model.generate(**plain, max_new_tokens=4, do_sample=False)
        reader = feature_processor(model, processor, tmp_path / "kept", LIMIT)
        features = encoded(reader, pictures())
        assert features.keys() == plain.keys()
        assert torch.equal(features["input_ids"], plain["input_ids"])
        for key in plain.keys() & {"attention_mask", "mm_token_type_ids", "image_grid_thw"}:
            assert torch.equal(features[key], plain[key])
        assert len(features["pixel_values"]) == len(plain["pixel_values"])
        assert features["pixel_values"].dim() == 3, "features, not pixels"
        torch.testing.assert_close(model(**features).logits, wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(**plain).logits, wanted, rtol=1e-4, atol=1e-4)
        assert torch.equal(model.generate(**features, max_new_tokens=4, do_sample=False), answers)


def test_a_picture_goes_through_the_tower_once(tmp_path: Path) -> None:
    model, processor = FAMILIES["qwen2.5-vl"]()
    reader = feature_processor(model, processor, tmp_path / "kept", LIMIT)
    seen: list[int] = []
    tower = vision_holder(model).visual.tower
    tower.register_forward_hook(lambda module, given, made: seen.append(len(given[0])))
    first, second, *_ = pictures()
    encoded(reader, [first, second, first])
    encoded(reader, [second, first])
    assert seen == [sum(frames * rows * columns for _, (frames, rows, columns) in reader.store.entries.values())]


def test_without_room_in_the_store_pictures_go_through_the_tower(tmp_path: Path) -> None:
    model, processor = FAMILIES["qwen2.5-vl"]()
    reader = feature_processor(model, processor, tmp_path / "kept", limit=0)
    batch = encoded(reader, pictures())
    assert batch["pixel_values"].dim() == 2
    assert model(**batch).logits.isfinite().all()
