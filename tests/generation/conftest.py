"""A random Qwen2.5-VL on disk, small enough for quick tests: its answers mean nothing, its probabilities are exact."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from emocaliber.backbones.tiny import build_tiny
from emocaliber.backbones.tiny_tokenizer import build_processor, build_tokenizer
from emocaliber.prompting import LEVELS, load_template, messages
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


def save_adapter(model_dir: Path, directory: Path, target: str, scale: float) -> Path:
    """A LoRA adapter on the modules that the pattern names; its B matrices are noise of this scale."""
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(model_dir)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=target, task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=scale)
    adapted.save_pretrained(directory)
    return directory


LANGUAGE = r".*language_model.*\.(q_proj|v_proj|up_proj)"


@pytest.fixture(scope="session")
def live_adapter(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(random_model, tmp_path_factory.mktemp("live"), LANGUAGE, 0.1)


@pytest.fixture(scope="session")
def dead_adapter(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(random_model, tmp_path_factory.mktemp("dead"), LANGUAGE, 0.0)


@pytest.fixture(scope="session")
def vision_adapter(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(random_model, tmp_path_factory.mktemp("vision"), r".*visual.*\.qkv", 0.1)


def face(label: int, level: int, seed: int) -> Image.Image:
    """A noisy picture whose hue stands for a label and whose darkness for a confidence level."""
    noise = np.random.default_rng(seed).normal(0, 6, (56, 56, 3))
    phase = 2 * np.pi * (label / 10 + np.arange(3) / 3)
    return Image.fromarray(np.clip((140 + 100 * np.cos(phase)) * (0.4 + 0.03 * level) + noise, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def taught_model(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random model after a minute of learning to answer in the trained format; for slow tests."""
    directory = tmp_path_factory.mktemp("taught-model")
    processor = AutoProcessor.from_pretrained(random_model)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(random_model)
    template, labels = load_template("label-confidence"), KAOMOJI_10.labels
    prompt = template.render(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    chance = np.random.default_rng(0)
    for step in range(200):
        drawn = [(int(chance.integers(10)), int(chance.integers(21))) for _ in range(24)]
        answers = [template.write(label=labels[label], confidence=LEVELS[level]) for label, level in drawn]
        chats = [processor.apply_chat_template(messages(prompt, answer)).rstrip() for answer in answers]
        pictures = [[face(label, level, step * 24 + n)] for n, (label, level) in enumerate(drawn)]
        inputs = processor(text=chats, images=pictures, return_tensors="pt")
        targets = inputs["input_ids"].clone()
        targets[:, :-7] = -100
        loss = model(**inputs, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 1.0
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def taught_adapter(taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LoRA adapter of the taught model."""
    return save_adapter(taught_model, tmp_path_factory.mktemp("taught-adapter"), LANGUAGE, 0.01)
