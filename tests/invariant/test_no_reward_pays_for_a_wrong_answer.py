"""Promise: no reward pays for a wrong answer. With every reward that is offered as default, honest play beats naming a
wrong label with any confidence, at every probability of being right; a reward for which that is false says so."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from emocaliber import rewards
from emocaliber.rewards import compute_score, reward_function
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.rewards import DRAWN, UnsafeReward, chosen_reward, named_reward, safety

PUBLIC = [name for name in rewards.__all__ if name not in ("compute_score", "reward_function")]
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


def test_rewards_for_other_trainers_pay_no_wrong_answer_and_nothing_unreadable():
    labels, levels = ["joy", "fear", "awe"], np.linspace(0.0, 1.0, 101)
    texts = {
        name: [f"<answer>{name}</answer><confidence>{c:.2f}</confidence>" for c in levels] for name in ("joy", "fear")
    }
    unreadable = ["", "joy", "joy fear", "<answer>joy</answer>", "<answer>joy</answer><confidence>nan</confidence>",
                  "<answer>joy or fear</answer><confidence>1.00</confidence>",
                  "<confidence>0.00</confidence>"]  # fmt: skip
    columns = {"candidates": [labels], "label": ["joy"]}
    named = {name: getattr(rewards, name) for name in PUBLIC} | {"default": reward_function(labels=labels)}
    named["verl"] = lambda sent, **_: [compute_score("", text, "joy", {"candidates": labels}) for text in sent]
    for name, paid_by in named.items():
        right, wrong, floor = (
            np.array(paid_by(sent, **{key: value * len(sent) for key, value in columns.items()}), float)
            for sent in (texts["joy"], texts["fear"], unreadable)
        )
        assert np.isfinite(right).all(), name
        assert np.isfinite(wrong).all(), name
        assert (floor <= min(right.min(), wrong.min()) + 1e-9).all(), name
        for p, honest in zip(levels, levels * right + (1 - levels) * wrong, strict=True):
            assert honest >= wrong.max() - 1e-9, (name, p)
            assert honest >= (p * right + (1 - p) * wrong).max() - 1e-9, (name, p)
