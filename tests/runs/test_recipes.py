"""Recipes are checked to the last key before a run, changed on the command line, shown in full, and copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.runs.evaluate import read_evaluation
from emocaliber.runs.recipes import declared, from_trl, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
STAGE_FILES = sorted(path for path in RECIPES.glob("*/[123]-*.yaml"))
TINY = RECIPES / "tiny" / "1-label.yaml"


@pytest.mark.parametrize("path", STAGE_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    assert read_recipe(path).stage == {"1": "label", "2": "verbalize", "3": "calibrate"}[path.name[0]]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/evaluate.yaml")), ids=lambda path: path.parent.name)
def test_every_shipped_evaluation_is_one_that_predict_understands(path: Path) -> None:
    assert read_evaluation(path).settings.method == path.parent.name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data: [kaomoji]\nengin: vllm\n", "unknown key 'engin'"),
        ("data: [kaomoji]\nengine: vlm\n", "engine: invalid enum value 'vlm'"),
        ("engine: vllm\n", "data: give a list"),
        ("data: [kaomoji]\nsuite: none.yaml\n", "none.yaml cannot be read"),
    ],
)
def test_a_wrong_evaluation_is_told_by_its_key(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "evaluate.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"evaluate\.yaml|none\.yaml") as error:
        read_evaluation(path)
    assert sentence in str(error.value)


def test_an_override_replaces_a_key_of_ours_and_one_of_the_trainers() -> None:
    recipe = read_recipe(TINY, ["learning_rate=1e-3", "lora_r=4", "data=[kaomoji]"])
    assert (recipe.trainer["learning_rate"], recipe.lora_r, recipe.data) == (0.001, 4, ("kaomoji",))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("learning_rat=1", "did you mean 'learning_rate'"),
        ("learning_rate=fast", "learning_rate: 'fast' is of the wrong kind"),
        ("bf16=3", "bf16: 3 is of the wrong kind"),
        ("lr_scheduler_type=cosin", "lr_scheduler_type: 'cosin' is of the wrong kind"),
        ("num_generations=4", "belongs to another trainer"),
        ("template=lable", "there is no template 'lable'"),
        ("stage=calibrate", "needs one with a label and a confidence"),
        ("quantization=int3", "'int3' is not one of none, nf4, int8"),
        ("learning_rate", "write key=value"),
        ("report_to=tensorbord", "did you mean 'tensorboard'"),
        ("env={A: b}", "may not set environment variables"),
    ],
)
def test_each_wrong_override_has_its_sentence(override: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        read_recipe(TINY, [override])
    assert sentence in str(error.value)


@pytest.mark.slow
def test_the_declared_trainer_keys_are_those_of_trl_as_it_is_installed() -> None:
    """Recipes are checked without importing TRL; `python -m emocaliber.runs.recipes` writes the file anew."""
    assert declared() == from_trl()


def test_quantised_weights_cannot_be_trained_themselves() -> None:
    with pytest.raises(UserError, match="tuning: lora"):
        read_recipe(TINY, ["tuning=full", "quantization=nf4"])


def test_validate_names_the_file_and_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "validate", str(TINY)]) == 0
    assert "valid" in capsys.readouterr().out
    assert main(["recipe", "validate", str(TINY), "lora_rr=1"]) == 2
    assert "1-label.yaml: unknown key 'lora_rr'" in capsys.readouterr().err


def test_show_marks_what_the_recipe_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "show", str(TINY), "lora_r=4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "* lora_r: 4" in lines
    assert "  quantization: none" in lines
    assert "* learning_rate: 0.003" in lines
