"""A recipe says what is wrong with it in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.stages.recipe import load_recipe

GOOD = "stage: label\ndata: [kaomoji]\nsplits: [train]\ntemplate: label\nlearning_rate: 0.1\n"
KEYS = {"learning_rate", "use_vllm", "num_train_epochs"}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_our_keys_and_the_trainers_are_told_apart(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, GOOD), KEYS)
    assert recipe.data == ("kaomoji",)
    assert recipe.trainer == {"learning_rate": 0.1}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD + "learning_rat: 0.1\n", "did you mean 'learning_rate'"),
        (GOOD + "env:\n  A: b\n", "may not set environment variables"),
        (GOOD.replace("stage: label", "stage: labels"), "'labels' is not one of label, verbalize, calibrate"),
        (GOOD.replace("data: [kaomoji]", "data: kaomoji"), "data: give a list"),
        (GOOD.replace("template: label\n", ""), "the key 'template' is missing"),
        (GOOD.replace("label\ndata", "calibrate\ndata") + "method: dpo\n", "method dpo learns from pairs; give pairs"),
        (GOOD + "target: agreement\n", "stage label learns the labels, or with votes"),
        (GOOD + "pairs: pairs.jsonl\n", "method proper learns from no pairs"),
        (GOOD + "method: rloo\nadvantages: segments\n", "segments are an option of method grpo"),
        (GOOD + "fold: 3\n", "fold: 3 is of the wrong kind"),
        (GOOD + "fold: 4/3\n", "'4/3' is no fold"),
        (GOOD + "teachers: [a]\n", "teachers: stage verbalize asks them"),
        (GOOD.replace("label\ndata", "verbalize\ndata") + "fold: 1/3\n", "fold: stage label leaves a fold out"),
        (GOOD + "quantization: nf4\nuse_vllm: true\n", "vLLM cannot load quantised weights from the trainer"),
        (GOOD + "held_out_steps: 0.5\n", "stage calibrate alone holds rows out"),
        (
            GOOD.replace("label\ndata", "calibrate\ndata") + "held_out_steps: 0\n",
            "neither a number of steps nor a share",
        ),
        (GOOD + "gain_alpha: 0.1\n", "stage calibrate alone holds rows out"),
        (
            GOOD.replace("label\ndata", "calibrate\ndata") + "gain_alpha: 0\n",
            "gain_alpha: 0 is not a significance level",
        ),
        (GOOD + "share_questions: 1\n", "share_questions: 1 is neither true nor false"),
        (GOOD + "lora_r: many\n", "lora_r: 'many' is of the wrong kind"),
        ("- a\n- b\n", "must be `key: value` lines"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=r"recipe\.yaml") as error:
        load_recipe(written(tmp_path, text), KEYS)
    assert sentence in str(error.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        load_recipe(tmp_path / "none.yaml", KEYS)
