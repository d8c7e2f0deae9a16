"""A reward that is offered as safe pays for honesty at every probability of being right; the others say where not."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emocaliber.stages import rewards
from emocaliber.stages.grading import Completion, correctness_of, rewards_of
from emocaliber.stages.rewards import DRAWN, Reward, UnsafeReward, chosen_reward, finite_rewards, named_reward, safety

SAFE = ("brier-1", "brier-0.5", "overconfidence-0.5", "overconfidence-4", "overconfidence-50", "underconfidence-0.5",
        "underconfidence-4", "underconfidence-50", "spherical-1", "spherical-0.3", "log-0.217")  # fmt: skip
UNSAFE = ("brier-2", "spherical-2", "log-0.22", "log-1", "log-2", "emocaliber")
CANDIDATES = ("happy", "sad")
GRID = np.linspace(0.0, 1.0, 201)


def completion(text: str, **named: object) -> Completion:
    return Completion(text, named.pop("question", 1), CANDIDATES, "happy", **named)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SAFE)
@pytest.mark.parametrize("p", np.linspace(0.0, 1.0, 21))
def test_with_a_safe_reward_honesty_is_best_and_a_deliberate_error_never_pays(name: str, p: float):
    reward = named_reward(name)
    honest = p * reward(p, 1.0) + (1 - p) * reward(p, 0.0)
    right, wrong = reward.right(GRID), reward.wrong(GRID)
    assert honest >= (p * right + (1 - p) * wrong).max() - 1e-9
    assert honest >= wrong.max() - 1e-9


@pytest.mark.parametrize("name", SAFE)
def test_with_a_safe_reward_malformed_output_never_beats_a_readable_answer(name: str):
    reward = named_reward(name)
    assert reward.malformed <= min(reward.right(GRID).min(), reward.wrong(GRID).min()) + 1e-12


@pytest.mark.parametrize("name", SAFE)
def test_the_checker_finds_a_safe_reward_safe_and_choosing_it_warns_of_nothing(name: str):
    assert safety(named_reward(name)).safe
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen_reward(name).name == name


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_reward_warns_with_the_range_of_p_where_it_fails(name: str):
    [(_, until)] = safety(named_reward(name)).error_pays
    with pytest.warns(UnsafeReward, match=f"to {until:.3f}: a deliberate wrong answer pays"):
        chosen_reward(name)


@pytest.mark.parametrize("name", ["brier-2", "spherical-2", "log-1", "log-2", "emocaliber"])
def test_the_docstring_of_an_unsafe_reward_names_that_range_too(name: str):
    [(_, until)] = safety(named_reward(name)).error_pays
    doc = getattr(rewards, name.partition("-")[0]).__doc__
    assert any(abs(float(number) - until) <= 0.0011 for number in re.findall(r"p <\s+(0\.\d{3})", doc)), (
        until,
        doc,
    )


def test_emocalibers_reward_is_hacked_below_p_849_and_garbage_beats_a_sure_error():
    checked = safety(named_reward("emocaliber"))
    assert checked.error_pays[0][1] == pytest.approx(0.849, abs=0.001)
    assert checked.garbage_pays_when_wrong[0][0] == pytest.approx(1 - math.exp(-3), abs=0.001)
    assert checked.garbage_pays_when_right[0][1] == pytest.approx(math.exp(-3.5), abs=0.001)
    assert named_reward("emocaliber")(0.8, 1.0) == pytest.approx(2 + 2 * math.log(0.8))


def test_the_checker_finds_a_rule_that_is_not_proper():
    linear = Reward("linear", lambda c: c, lambda c: -c, -1.0)
    assert safety(linear).dishonest
    blind = Reward("no correctness term", lambda c: -((1 - c) ** 2), lambda c: -(c**2), -1.0)
    assert safety(blind).error_pays
    assert not safety(blind).dishonest


@pytest.mark.parametrize("name", [*SAFE, *UNSAFE])
@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
@settings(max_examples=30)
def test_every_reward_of_every_stated_confidence_is_finite(name: str, confidence: float, correctness: float):
    assert math.isfinite(named_reward(name)(confidence, correctness))


@given(st.text(max_size=80))
@settings(max_examples=50)
def test_every_reward_of_every_text_is_finite(text: str):
    for name in DRAWN:
        [earned] = rewards_of(named_reward(name), [completion(text)], "label")
        assert math.isfinite(earned)


def test_what_is_not_a_number_is_the_worst_reward_never_the_best():
    assert finite_rewards([0.5, None, math.nan, math.inf, -math.inf], -1.0) == [0.5, -1.0, -1.0, -1.0, -1.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "happy",
        "<answer>happy</answer>",
        "<answer>happy</answer><confidence>nan</confidence>",
        "<answer>happy</answer><confidence>1.7</confidence>",
        "<answer>happy sad</answer><confidence>0.5</confidence>",
    ],
)
def test_malformed_text_earns_the_malformed_reward(text: str):
    assert rewards_of(named_reward("brier-1"), [completion(text)], "label") == [-1.0]


def test_a_right_and_sure_answer_earns_the_most():
    text = "<answer>happy</answer><confidence>1.00</confidence>"
    assert rewards_of(named_reward("brier-1"), [completion(text)], "label") == [1.0]
    assert rewards_of(named_reward("emocaliber"), [completion(text)], "label") == [-5.0]


def test_agreement_is_the_raters_share_and_the_honest_confidence_is_that_share():
    votes = {"happy": 3, "sad": 1}
    texts = {c: f"<answer>happy</answer><confidence>{c:.2f}</confidence>" for c in GRID}
    brier = named_reward("brier-1")
    earned = {c: rewards_of(brier, [completion(text, votes=votes)], "agreement")[0] for c, text in texts.items()}
    assert max(earned, key=lambda c: earned[c]) == pytest.approx(0.75)


def test_agreement_without_votes_is_refused():
    with pytest.raises(ValueError, match="needs rater votes"):
        rewards_of(named_reward("brier-1"), [completion("x")], "agreement")


def test_group_correctness_mixes_the_answer_with_its_own_group_alone():
    group = [completion("", question=name) for name in ("a", "a", "b", "b")]
    assert correctness_of(group, ["happy", "sad", "sad", None], "group") == [0.75, 0.25, 0.0, 0.0]


@pytest.mark.parametrize("name", ["brier", "brier-0", "brier--1", "linear-1", "brier-nan", "brier-1e9", "log-2 "])
def test_a_reward_that_does_not_exist_is_named_with_those_that_do(name: str):
    with pytest.raises(ValueError, match="such as brier-1"):
        named_reward(name)


@pytest.mark.parametrize(("confidence", "right"), [(1.2, 1.0), (math.nan, 0.0), (0.5, -0.1)])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float, right: float):
    with pytest.raises(ValueError, match="must lie in"):
        named_reward("brier-1")(confidence, right)
