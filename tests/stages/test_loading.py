"""Weights are loaded in the type that they can be trained in, and stored so that they can be parted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from emocaliber.models.location import embedded_base
from emocaliber.stages.launch import sharding
from emocaliber.stages.loading import load_base, quantized
from emocaliber.stages.recipe import Recipe, load_recipe
from emocaliber.stages.supervised import trainer_keys

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny" / "1-label.yaml"
ZERO_3 = 'deepspeed={"zero_optimization": {"stage": 3}}'
ZERO_2 = 'deepspeed={"zero_optimization": {"stage": 2}}'


def recipe(*overrides: str) -> Recipe:
    return load_recipe(RECIPE, trainer_keys(), overrides)


@pytest.fixture(scope="module")
def short_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny base stored in bfloat16, as published models are."""
    folder = tmp_path_factory.mktemp("short")
    Qwen2_5_VLForConditionalGeneration.from_pretrained(embedded_base(), dtype=torch.bfloat16).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("overrides", "dtype"),
    [
        (["tuning=full"], torch.float32),
        (["tuning=full", ZERO_2], torch.bfloat16),
        (["tuning=full", "fsdp=full_shard"], torch.bfloat16),
        (["tuning=lora"], torch.float32),
        (["tuning=lora", "bf16=true"], torch.bfloat16),
        (["tuning=lora", "use_cpu=false"], torch.bfloat16),
    ],
)
def test_weights_are_float32_where_all_learn_and_on_a_cpu_unless_something_else_sees_to_it(
    overrides: list[str], dtype: torch.dtype, short_model: str
) -> None:
    assert {weight.dtype for weight in load_base(recipe(*overrides), short_model).parameters()} == {dtype}


@pytest.mark.parametrize(
    ("overrides", "storage"),
    [([], torch.uint8), ([ZERO_2], torch.uint8), ([ZERO_3], torch.bfloat16), (["fsdp=full_shard"], torch.bfloat16)],
)
def test_four_bit_weights_that_are_parted_are_stored_in_the_type_of_the_others(
    overrides: list[str], storage: torch.dtype
) -> None:
    chosen = recipe("quantization=nf4", "use_cpu=false", *overrides)
    assert quantized(chosen).bnb_4bit_quant_storage == storage


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "none"),
        ({"ACCELERATE_USE_FSDP": "true"}, "fsdp"),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, "zero2"),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, "zero3"),
    ],
)
def test_the_launchers_file_is_known_by_what_accelerate_sets(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert sharding(recipe()) == expected
