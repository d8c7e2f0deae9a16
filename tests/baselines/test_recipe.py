"""The recipes that ship say what the methods do without one, and the public ones what the papers' code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.baselines.experiment import NETWORKS, BaselineRecipe, load_recipe
from emocaliber.cli.baselines import METHODS
from emocaliber.core.errors import UserError

RECIPES = Path(__file__).parents[2] / "recipes" / "baselines"


def test_the_command_names_every_method():
    assert tuple(NETWORKS) == METHODS


@pytest.mark.parametrize("name", METHODS)
def test_the_recipe_spells_out_the_method_s_own_settings(name: str):
    assert load_recipe(RECIPES / f"{name}.yaml") == BaselineRecipe(NETWORKS[name])


@pytest.mark.parametrize("name", ["tmc-public", "ecml-public"])
def test_the_public_recipes_fit_nothing_on_held_out_rows(name: str):
    training = load_recipe(RECIPES / f"{name}.yaml").training
    assert (training.validation, training.patience, training.calibrate) == (0.0, None, False)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("network: {method: tmc, hiden: [1]}", "hiden"),
        ("network: {method: tmd}", "tmd"),
        ("network: {method: tmc}\ntraining: {epochs: many}", "epochs"),
        ("network: [", "not YAML"),
        ("training: {}", "network"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, what: str):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(UserError, match=what):
        load_recipe(tmp_path / "recipe.yaml")
