"""A random Qwen2.5-VL on disk, small enough for quick tests: its answers mean nothing, its probabilities are exact."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen2_5_VLForConditionalGeneration

from emocaliber.core.images import load_image
from emocaliber.core.predictions import Prediction, Source
from emocaliber.core.prompting import LEVELS, Template, load_template, messages
from emocaliber.core.samples import Sample
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.data.embedded import load
from emocaliber.generation.engine import Engine, Request
from emocaliber.generation.readouts import rows_of
from emocaliber.generation.respond import choices_of, respond
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import embedded_base
from scripts.tiny_world.backbone import build_processor, build_tiny, build_tokenizer

VLLM_ON_CPU = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
}


def rows_in_memory(
    samples: Sequence[Sample], engine: Engine, template: Template, *, constrain: bool = False
) -> list[dict[Source, Prediction]]:
    """Each sample's read-outs, asked without a file."""
    responses = respond(samples, engine, template, constrain=constrain)
    return [rows_of(sample, answer, template, method="m") for sample, answer in zip(samples, responses, strict=True)]


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
    model = AutoModelForImageTextToText.from_pretrained(model_dir)
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
    """On the tower's attention and gated layers, and on the projector: not on the language model."""
    target = r".*visual.*\.(qkv|gate_proj|down_proj|mlp\.[02])"
    return save_adapter(random_model, tmp_path_factory.mktemp("vision"), target, 0.5)


@pytest.fixture(scope="session")
def tuned_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter on the shipped base after half a minute of learning to answer about kaomoji; for slow tests.

    Each label goes with one confidence level, so that there is something to learn and nothing is left to chance.
    """
    directory = tmp_path_factory.mktemp("tuned-adapter")
    processor: Any = AutoProcessor.from_pretrained(embedded_base())
    base = Qwen2_5_VLForConditionalGeneration.from_pretrained(embedded_base(), dtype=torch.float32)
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules=EVERY_LANGUAGE, task_type="CAUSAL_LM"))
    template, labels = load_template("label-confidence"), KAOMOJI_10.labels
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=3e-3)
    rows = load("kaomoji", "train")
    chance = np.random.default_rng(0)
    for _ in range(STEPS):
        batch = [rows[index] for index in chance.integers(0, len(rows), BATCH)]
        answers = [template.write(label=row.label, confidence=level_of(row.label)) for row in batch]
        chats = [
            processor.apply_chat_template(messages(template.render(labels), answer)).rstrip() for answer in answers
        ]
        inputs = processor(
            text=chats, images=[[load_image(row.image)] for row in batch], return_tensors="pt", padding=True
        )
        targets = inputs["input_ids"].clone()
        targets[:, :-7] = -100
        loss = model(**inputs, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(directory)
    return directory


STEPS, BATCH = 40, 16
EVERY_LANGUAGE = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def level_of(label: str | None) -> float:
    return LEVELS[2 * KAOMOJI_10.labels.index(str(label)) + 1]


@pytest.fixture(scope="session")
def tuned_engine(tuned_adapter: Path) -> TransformersEngine:
    """The shipped base with the adapter, drawing answers; for slow tests."""
    return TransformersEngine(embedded_base(), adapter=tuned_adapter, max_new_tokens=12, temperature=1.0)


@pytest.fixture(scope="session")
def questions() -> list[Request]:
    """Forty questions about kaomoji, with their choices."""
    template = load_template("label-confidence")
    return [
        Request(
            row.id,
            load_image(row.image),
            template.render(row.candidates),
            choices_of(template, row.candidates),
            candidates=row.candidates,
        )
        for row in load("kaomoji", "test")[::50][:40]
    ]
