"""A random Qwen2.5-VL on disk, small enough for quick tests: its answers mean nothing, its probabilities are exact."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.backbones.tiny import build_tiny
from emocaliber.backbones.tiny_tokenizer import build_processor, build_tokenizer
from emocaliber.prompting import load_template
from emocaliber.taxonomy import KAOMOJI_10


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the model and its processor."""
    directory = tmp_path_factory.mktemp("random-model")
    tokenizer = build_tokenizer(
        [load_template(name).render(KAOMOJI_10.labels) for name in ("label", "label-confidence")], ""
    )
    build_tiny(tokenizer).save_pretrained(directory)
    build_processor(tokenizer).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Seven noisy pictures of two shapes, so that batches hold different numbers of image tokens."""
    noise = np.random.default_rng(0)
    shapes = [(28, 280), (56, 56)]
    return [Image.fromarray(noise.integers(0, 256, (*shapes[n % 2], 3), dtype=np.uint8)) for n in range(7)]
