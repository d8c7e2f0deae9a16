"""The reward function of GRPO and RLOO: what the recipe chooses is what is paid, and a wrong choice is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.stages.calibrate.draws import reward_function
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.rewards import UnsafeReward

COLUMNS = {
    "question": ["1", "1"],
    "candidates": [["happy", "sad"]] * 2,
    "truth": ["happy"] * 2,
    "votes": [{"happy": 3, "sad": 1}] * 2,
}
TEXTS = [f"<answer>{label}</answer><confidence>0.50</confidence>" for label in ("happy", "sad")]


def recipe(**keys: str) -> Recipe:
    return Recipe(Path("r.yaml"), "calibrate", ("emoji",), ("calibrate",), "label-confidence", **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "paid"),
    [
        ({}, [0.75, -0.25]),
        ({"correctness": "agreement"}, [0.5, 0.0]),
        ({"correctness": "group"}, [0.5, 0.0]),
        ({"reward": "spherical-1"}, [0.5**0.5, 0.5**0.5 - 1]),
    ],
)
def test_what_the_recipe_chooses_is_paid(keys: dict[str, str], paid: list[float]):
    assert reward_function(recipe(**keys))(TEXTS, **COLUMNS) == pytest.approx(paid)


def test_chat_messages_are_paid_as_their_text():
    chat = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in TEXTS]
    assert reward_function(recipe())(chat, **COLUMNS) == reward_function(recipe())(TEXTS, **COLUMNS)


def test_a_reward_that_does_not_exist_names_the_recipe():
    with pytest.raises(UserError, match=r"r\.yaml: reward: 'bryer-1' is no reward"):
        reward_function(recipe(reward="bryer-1"))


def test_the_emocaliber_reward_warns_when_it_is_chosen():
    with pytest.warns(UnsafeReward, match="deliberate wrong answer"):
        reward_function(recipe(reward="emocaliber"))
