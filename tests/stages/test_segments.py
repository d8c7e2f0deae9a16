"""Segments of an answer: the confidence's tokens are found as any tokenizer cuts them, and both rewards sum to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.stages.calibrate.draws import reward_function
from emocaliber.stages.calibrate.reinforcement import confidence_tokens, segment_rewards
from emocaliber.stages.recipe import Recipe

TAGS = ("<confidence>", "</confidence>")
COLUMNS = {
    "question": ["1"] * 4,
    "candidates": [["happy", "sad"]] * 4,
    "truth": ["happy"] * 4,
    "votes": [{"happy": 3, "sad": 1}] * 4,
}
TEXTS = [
    "<answer>happy</answer><confidence>0.50</confidence>",
    "<answer>sad</answer><confidence>0.90</confidence>",
    "<answer>happy</answer>",
    "nothing",
]


def recipe(**keys: str) -> Recipe:
    return Recipe(Path("r.yaml"), "calibrate", ("emoji",), ("calibrate",), "label-confidence", **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["<answer>", "happy", "</answer>", "<confidence>", "0.90", "</confidence>", "<end>"], "...xxx."),
        (["<answer>happy</answer", "><", "confidence", ">0", ".9", "</confidence><end>"], ".xxxxx"),
        (["<confidence>1.0</confidence>", " no: ", "<confidence>", "0.2"], "..xx"),
        (["<answer>", "happy", "</answer>"], "xxx"),
        ([], ""),
    ],
)
def test_the_confidence_segment_is_what_reaches_into_the_last_tags(tokens: list[str], expected: str):
    assert "".join(".x"[inside] for inside in confidence_tokens(tokens, *TAGS)) == expected


@pytest.mark.parametrize("correctness", ["label", "agreement", "group"])
@pytest.mark.parametrize("reward", ["brier-1", "spherical-1", "overconfidence-4"])
def test_what_the_segments_earn_sums_to_the_reward(correctness: str, reward: str):
    chosen = recipe(correctness=correctness, reward=reward)
    rewards = reward_function(chosen)(TEXTS, **COLUMNS)
    parts = [part(TEXTS, **COLUMNS) for part in segment_rewards(chosen)]
    assert [sum(pair) for pair in zip(*parts, strict=True)] == pytest.approx(rewards)


def test_the_score_of_a_segment_is_that_of_the_confidence_alone():
    correctness, score = (part(TEXTS, **COLUMNS) for part in segment_rewards(recipe()))
    assert correctness == [1.0, 0.0, 0.0, 0.0]
    assert score == pytest.approx([-0.25, -0.81, -1.0, -1.0])
