"""A projector that learns: in float32, saved with the adapter, kept by what comes after, seen by the estimate."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from emocaliber.core.errors import UserError
from emocaliber.models.loading import WEIGHTS, adapted
from emocaliber.models.projectors import learned_projectors, projectors
from emocaliber.runs.estimate import estimate
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.fast.feature_cache import use_kept_features
from emocaliber.stages.loading import load_base, load_processor, load_trainable
from emocaliber.stages.recipe import Recipe
from tests.stages.families import FAMILIES, save_family

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny" / "1-label.yaml"
TARGETS = r"lora_target=.*(language|text)_model.*\.(q_proj|v_proj)"


def recipe(*overrides: str) -> Recipe:
    return read_recipe(RECIPE, ["lora_r=2", TARGETS, "train_projector=true", *overrides])


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(request.param, tmp_path_factory.mktemp(request.param) / "model")


def taught(model: Path, out: Path) -> dict[str, torch.Tensor]:
    """Save in `out` an adapter whose projector learned something; what its projector weighs."""
    learner: Any = load_trainable(recipe(), str(model), None)
    torch.manual_seed(1)
    for wrapper in learned_projectors(learner):
        for weight in wrapper.modules_to_save.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    learner.save_pretrained(out)
    return {name: weight for name, weight in load_file(out / WEIGHTS).items() if "lora_" not in name}


def test_the_projector_learns_beside_lora_and_nothing_else_does(model: Path) -> None:
    learner: Any = load_trainable(recipe(), str(model), None)
    names = [name for name, weight in learner.named_parameters() if weight.requires_grad]
    full = [name for name in names if "lora_" not in name]
    assert full
    assert {name.partition(".modules_to_save.default")[0].rpartition("model.model.")[2] for name in full} == {
        name.removeprefix("model.") for name in projectors(learner.get_base_model()) if "modules_to_save" not in name
    }


def test_what_a_projector_learned_is_kept_exactly_and_frozen_unless_it_learns_on(model: Path, tmp_path: Path) -> None:
    weights = taught(model, tmp_path / "adapter")
    for changes, learns in ((["train_projector=false"], False), ([], True)):
        learner: Any = load_trainable(recipe(*changes), str(model), tmp_path / "adapter")
        held = [weight for each in learned_projectors(learner) for weight in each.modules_to_save.parameters()]
        assert {weight.requires_grad for weight in held} == {learns}
        learner.save_pretrained(tmp_path / f"again {learns}")
        again = load_file(tmp_path / f"again {learns}" / WEIGHTS)
        assert all(torch.equal(again[name], weight) for name, weight in weights.items())


def test_in_a_model_in_bfloat16_it_learns_in_float32_and_is_read_back_without_rounding(
    model: Path, tmp_path: Path
) -> None:
    weights = taught(model, tmp_path / "adapter")
    short: Any = load_base(recipe(), str(model)).to(torch.bfloat16)
    loaded = adapted(short, tmp_path / "adapter", trainable=True)
    loaded.save_pretrained(str(tmp_path / "again"))
    again = load_file(tmp_path / "again" / WEIGHTS)
    assert all(torch.equal(again[name], weight) for name, weight in weights.items())


def test_merging_puts_the_learned_projector_in_place(model: Path, tmp_path: Path) -> None:
    weights = taught(model, tmp_path / "adapter")
    beside: Any = PeftModel.from_pretrained(load_base(recipe(), str(model)), str(tmp_path / "adapter"))
    merged = beside.merge_and_unload().state_dict()
    assert all(torch.equal(merged[name.removeprefix("base_model.model.")], weight) for name, weight in weights.items())


def test_an_adapter_without_a_projector_is_not_gone_on_with_where_it_is_to_learn(model: Path, tmp_path: Path) -> None:
    load_trainable(recipe("train_projector=false"), str(model), None).save_pretrained(str(tmp_path / "adapter"))
    with pytest.raises(UserError, match="holds no projector to go on with; train stage 1 with the key"):
        load_trainable(recipe(), str(model), tmp_path / "adapter")


def test_the_estimate_counts_it(model: Path) -> None:
    chosen = recipe(f"model={model}", "lora_partial=true", "packing=false")
    learner: Any = load_trainable(chosen, str(model), None)
    assert estimate(chosen).trainable == sum(p.numel() for p in learner.parameters() if p.requires_grad)
    assert estimate(chosen).trainable > estimate(dataclasses.replace(chosen, train_projector=False)).trainable


def test_where_the_tower_ends_before_the_projector_its_features_are_kept_and_no_gradient_is_cut(
    tmp_path: Path,
) -> None:
    model = save_family("internvl", tmp_path / "model")
    processor: Any = load_processor(str(model))
    learner: Any = load_trainable(recipe(), str(model), None)
    reader = use_kept_features(recipe(), learner, processor, tmp_path)
    assert reader is not None
    pixels = torch.randn(1, 17, 32)  # a class token and 16 patches of one tile
    ids = torch.tensor([[5, *[processor.image_token_id] * 4, 6]])
    learner(input_ids=ids, pixel_values=pixels).logits.sum().backward()
    for wrapper in learned_projectors(learner):
        for weight in wrapper.modules_to_save.parameters():
            assert weight.grad is not None
            assert bool(weight.grad.any())


@pytest.mark.parametrize("family", ["qwen2.5-vl", "qwen3-vl"])
def test_where_the_projector_is_the_towers_end_nothing_is_kept(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_family(family, tmp_path / "model")
    learner = load_trainable(recipe(), str(model), None)
    assert use_kept_features(recipe(), learner, load_processor(str(model)), tmp_path) is None
    assert "the adapter changes it" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["tuning=full", "use_vllm=true"])
def test_a_key_that_would_be_idle_or_unserved_is_refused(change: str) -> None:
    grpo = RECIPE.parent / "3-calibrate-grpo.yaml"
    with pytest.raises(UserError, match="train_projector"):
        read_recipe(grpo if change.startswith("use_vllm") else RECIPE, ["train_projector=true", change])


def test_a_model_without_a_known_projector_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emocaliber.stages.loading.projectors", lambda _: [])
    model = save_family("internvl", tmp_path / "model")
    with pytest.raises(UserError, match="has no projector by a known name"):
        load_trainable(recipe(), str(model), None)
