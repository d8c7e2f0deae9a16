"""A first recipe is made of what a model says of itself; the newer shipped ones are what the command writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoConfig, LlavaConfig

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.models.layers import meta_model, target_of
from emocaliber.runs.estimate import estimate
from emocaliber.runs.new_recipe import Facts, facts_of, written
from emocaliber.runs.recipes import read_recipe
from tests.stages.families import FAMILIES, save_family

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = {
    "qwen3.5": ("qwen3.5", "Qwen/Qwen3.5-4B"),
    "gemma-4": ("gemma-4", "google/gemma-4-E4B-it"),
    "minicpm-v-4.6": ("minicpm-v", "openbmb/MiniCPM-V-4.6"),
    "lfm2.5-vl": ("lfm2-vl", "LiquidAI/LFM2.5-VL-1.6B"),
    "internvl3.5": ("internvl3.5", "OpenGVLab/InternVL3_5-2B-HF"),
}
BILLIONS = {  # of parameters, on the models' cards; Qwen's without the heads that foretell further tokens
    "qwen3.5/Qwen3.5-0.8B": 0.85,
    "qwen3.5/Qwen3.5-2B": 2.2,
    "qwen3.5/Qwen3.5-4B": 4.5,
    "qwen3.5/Qwen3.5-9B": 9.4,
    "gemma-4/gemma-4-E2B-it": 5.1,
    "gemma-4/gemma-4-E4B-it": 8.0,
    "minicpm-v-4.6/MiniCPM-V-4.6": 1.3,
    "lfm2.5-vl/LFM2.5-VL-1.6B": 1.6,
    "internvl3.5/InternVL3_5-1B-HF": 1.1,
    "internvl3.5/InternVL3_5-2B-HF": 2.3,
    "internvl3.5/InternVL3_5-4B-HF": 4.7,
    "internvl3.5/InternVL3_5-8B-HF": 8.5,
}


@pytest.mark.parametrize("folder", SHIPPED)
def test_the_shipped_files_of_a_newer_family_are_what_the_command_writes(folder: str) -> None:
    """`written(facts_of(...))` writes them anew: the processor of the tiny model, the published configuration."""
    family, model = SHIPPED[folder]
    config = AutoConfig.from_pretrained(RECIPES / folder / f"{Path(model).name}.json")
    files = written(facts_of(model, config, FAMILIES[family]()[1]), f"recipes/{folder}")
    assert files == {path.name: path.read_text() for path in (RECIPES / folder).glob("*.yaml")}


@pytest.mark.parametrize("name", BILLIONS)
def test_each_size_of_a_newer_family_has_the_parameters_of_its_card_and_lora_in_every_layer(name: str) -> None:
    folder, size = name.split("/")
    owner = SHIPPED[folder][1].split("/")[0]
    counted = estimate(read_recipe(RECIPES / folder / "1-label.yaml", [f"model={owner}/{size}"]))
    assert counted.parameters / 1e9 == pytest.approx(BILLIONS[name], rel=0.04)
    assert counted.reach is not None
    assert counted.reach.reached == counted.reach.layers


def test_a_recipe_of_ones_own_model_is_valid_and_can_be_estimated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_family("qwen3.5", tmp_path / "model")
    assert main(["recipe", "new", str(model), str(tmp_path / "mine")]) == 0
    assert main(["recipe", "validate", str(tmp_path / "mine")]) == 0
    assert main(["recipe", "estimate", str(tmp_path / "mine" / "2-verbalize.yaml")]) == 0
    recipe = read_recipe(tmp_path / "mine" / "1-label.yaml")
    assert (recipe.model, recipe.thinking, recipe.max_pixels, recipe.packing) == (str(model), False, 589_824, True)
    assert main(["recipe", "new", str(model), str(tmp_path / "mine")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_what_is_no_model_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text('{"model_type": "llama"}')
    for model in (str(tmp_path / "nowhere"), str(tmp_path / "text"), "owner/never-downloaded"):
        assert main(["recipe", "new", model, str(tmp_path / "mine")]) == 2
    assert not (tmp_path / "mine").exists()
    assert "no recipe can be made of it" in capsys.readouterr().err


def test_a_target_that_the_default_misses_is_derived_and_written() -> None:
    text = {"model_type": "phi3", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 100, "pad_token_id": 0}
    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    target = target_of(meta_model(LlavaConfig(text_config=text, vision_config=vision | {"num_attention_heads": 2})))
    assert target == r".*language_model.*\.(down_proj|gate_up_proj|o_proj|qkv_proj)"
    files = written(Facts("mine", "llava", 576, None, False, target), "mine")
    assert f"lora_target: '{target}'" in files["1-label.yaml"]
    assert "packing" not in files["1-label.yaml"]


def test_thoughts_are_for_methods_that_draw_whole_responses() -> None:
    for stage in ("1-label", "2-verbalize", "3-calibrate"):
        with pytest.raises(UserError, match="thinking: false"):
            read_recipe(RECIPES / "qwen3.5" / f"{stage}.yaml", ["thinking=true"])
    assert read_recipe(RECIPES / "qwen3.5" / "3-calibrate-grpo.yaml", ["thinking=true"]).thinking
