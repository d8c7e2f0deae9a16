"""An estimate counts what a real model of that shape has, and comes near what its training step keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from emocaliber.cli import main
from emocaliber.core.prompting import messages
from emocaliber.runs.estimate import estimate
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.loading import load_trainable
from tests.stages.families import qwen3_vl, save_family

RECIPES = Path(__file__).parents[2] / "recipes"
PUBLISHED = {  # millions of parameters, as the hub's pages show them
    "qwen2.5-vl-3b": 3_755,
    "qwen2.5-vl-7b": 8_292,
    "qwen3-vl-4b": 4_438,
    "qwen3-vl-8b": 8_767,
    "smolvlm-256m": 256,
    "smolvlm-500m": 507,
    "internvl3-2b": 2_088,
}


@pytest.mark.parametrize("folder", PUBLISHED)
def test_the_shipped_architectures_have_the_published_number_of_parameters(folder: str) -> None:
    found = estimate(read_recipe(RECIPES / folder / "1-label.yaml"))
    assert found.parameters / 1e6 == pytest.approx(PUBLISHED[folder], rel=0.01)
    assert 0.001 < found.trainable / found.parameters < 0.05


def test_the_learning_parameters_are_those_of_the_real_adapter(tmp_path: Path) -> None:
    model = save_family("qwen3-vl", tmp_path / "model")
    recipe = read_recipe(RECIPES / "tiny" / "1-label.yaml", [f"model={model}", "lora_r=3"])
    learner: Any = load_trainable(recipe, str(model), None)
    assert estimate(recipe).trainable == sum(p.numel() for p in learner.parameters() if p.requires_grad)
    assert estimate(recipe).parameters == sum(p.numel() for p in learner.get_base_model().parameters()) - sum(
        p.numel() for p in learner.parameters() if p.requires_grad
    )


def test_what_a_step_keeps_is_within_a_half_of_the_estimate() -> None:
    """Measured on a model small enough for a CPU: the bytes that autograd saves, without recomputation."""
    model, processor = qwen3_vl()
    config = model.config
    config.text_config.hidden_size, config.text_config.intermediate_size = 128, 384
    config.text_config.num_hidden_layers, config.vision_config.out_hidden_size = 6, 128
    wide: Any = AutoModelForImageTextToText.from_config(config)
    wide.model.visual.requires_grad_(False)
    texts = [processor.apply_chat_template(messages("x " * 120, "y"), tokenize=False)] * 4
    inputs = processor(text=texts, images=[[Image.new("RGB", (64, 64))]] * 4, return_tensors="pt")
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = wide(**inputs, logits_to_keep=1).logits.sum()
    weights = {p.untyped_storage().data_ptr() for p in wide.parameters()}
    measured = sum(size for place, size in kept.items() if place not in weights)
    loss.backward()
    tokens = inputs["input_ids"].numel()
    from emocaliber.runs.estimate import _activations

    recipe = read_recipe(RECIPES / "tiny" / "1-label.yaml")
    text = config.text_config
    counted = _activations(recipe, text, tokens, 0, 4)
    assert counted == pytest.approx(measured, rel=0.5)


def test_quantised_weights_and_eight_bit_optimisers_need_less() -> None:
    path = RECIPES / "qwen2.5-vl-7b" / "1-label.yaml"
    plain, nf4 = estimate(read_recipe(path)), estimate(read_recipe(path, ["quantization=nf4"]))
    assert nf4.weights < 0.45 * plain.weights
    assert estimate(read_recipe(path, ["optim=adamw_bnb_8bit"])).optimiser * 4 == plain.optimiser
    full = estimate(read_recipe(path, ["tuning=full"]))
    assert full.trainable == full.parameters
    assert dataclasses.replace(plain, weights=0).training_bytes < plain.training_bytes


def test_a_run_that_would_not_fit_is_told_before_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(RECIPES / "qwen2.5-vl-7b" / "1-label.yaml")
    assert main(["recipe", "estimate", recipe, "--memory", "80"]) == 0
    assert "GiB" in capsys.readouterr().out
    assert main(["recipe", "estimate", recipe, "--memory", "12"]) == 2
    assert "quantization=nf4" in capsys.readouterr().err
