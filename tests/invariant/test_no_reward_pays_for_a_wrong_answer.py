"""Promise: no reward pays for a wrong answer. With every reward that is offered as default, honest play beats naming a
wrong label with any confidence, at every probability of being right; a reward for which that is false says so."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from emocaliber.stages.recipe import Recipe
from emocaliber.stages.rewards import DRAWN, UnsafeReward, chosen_reward, named_reward, safety

GRID = np.linspace(0.0, 1.0, 401)
RECIPES = Path(__file__).parents[2] / "recipes"
PAPER = RECIPES / "emocaliber-paper"
"""Its GRPO recipe is the published one, with the published reward, which warns."""
DEFAULT = inspect.signature(Recipe).parameters["reward"].default


def offered() -> list[str]:
    """The default, and what the shipped recipes choose."""
    recipes = [yaml.safe_load(path.read_text()) for path in RECIPES.rglob("*.yaml") if path.parent != PAPER]
    return sorted(
        {DEFAULT} | {recipe["reward"] for recipe in recipes if isinstance(recipe, dict) and "reward" in recipe}
    )


@pytest.mark.parametrize("name", offered())
def test_honest_play_beats_a_deliberate_error_at_every_probability(name: str):
    reward = named_reward(name)
    right, wrong = reward.right(GRID), reward.wrong(GRID)
    for p, honest in zip(GRID, GRID * right + (1 - GRID) * wrong, strict=True):
        assert honest >= wrong.max() - 1e-9, p
        assert honest >= (p * right + (1 - p) * wrong).max() - 1e-9, p
        assert honest >= reward.malformed - 1e-9, p


@pytest.mark.parametrize("name", DRAWN)
def test_a_reward_that_fails_says_so_when_it_is_chosen(name: str):
    reward = named_reward(name)
    wrong = reward.wrong(GRID[1:-1])
    honest = GRID[1:-1] * reward.right(GRID[1:-1]) + (1 - GRID[1:-1]) * wrong
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chosen_reward(name)
    warned = any(issubclass(warning.category, UnsafeReward) for warning in caught)
    assert warned == (not safety(reward).safe)
    if (wrong.max() > honest + 1e-9).any():
        assert warned
