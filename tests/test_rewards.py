"""The rewards that other trainers call: TRL's and verl's contracts, columns as datasets have them, clear refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emocaliber import rewards
from emocaliber.core.errors import UserError
from emocaliber.core.taxonomy import MIKELS_8
from emocaliber.rewards import brier, compute_score, reward_function
from emocaliber.stages.rewards import UnsafeReward

LABELS = ["joy", "fear", "awe"]
RIGHT, WRONG, UNREAD = (
    "<answer>joy</answer><confidence>0.80</confidence>",
    "<answer>fear</answer><confidence>0.80</confidence>",
    "I cannot say.",
)
TEXTS = [RIGHT, WRONG, UNREAD]
PAID = pytest.approx([1 - 0.2**2, -(0.8**2), -1.0])
COLUMNS: dict[str, Any] = {"candidates": [LABELS] * 3, "label": ["joy"] * 3}


def test_trl_calls_it_with_texts_or_chats_and_with_columns_that_it_does_not_need():
    chats = [[{"role": "assistant", "content": text}] for text in TEXTS]
    parts = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in TEXTS]
    unneeded = {"prompts": ["?"] * 3, "completion_ids": [[1]] * 3, "trainer_state": object(), "image": [None] * 3}
    for completions in (TEXTS, chats, parts):
        assert brier(completions=completions, **COLUMNS, **unneeded) == PAID


def test_a_chat_without_text_is_unreadable_and_of_several_turns_the_last_one_counts():
    turns = [{"role": "assistant", "content": RIGHT}, {"role": "tool", "content": "?"}]
    chats = [[], [{"role": "assistant", "content": None}], [*turns, {"role": "assistant", "content": WRONG}]]
    assert brier(chats, **COLUMNS) == pytest.approx([-1.0, -1.0, -(0.8**2)])


@pytest.mark.parametrize(
    "columns",
    [
        {"candidates": [LABELS] * 3, "truth": ["Joy "] * 3},
        {"candidates": [LABELS] * 3, "label": [0] * 3},
        {"labels": [LABELS] * 3, "solution": ["joy"] * 3},
        {"choices": [tuple(LABELS)] * 3, "answer": ["joy"] * 3},
    ],
)
def test_the_columns_of_usual_datasets_are_known(columns: dict[str, Any]):
    assert brier(TEXTS, **columns) == PAID


@pytest.mark.parametrize("labels", [LABELS, "mikels-8"])
def test_labels_may_be_said_once_for_all_rows(labels: Any):
    texts = TEXTS if labels is LABELS else [text.replace("joy", "awe") for text in TEXTS]
    truth = 0 if labels is LABELS else MIKELS_8.labels.index("awe")
    reward = reward_function(labels=labels)
    assert reward.__name__ == "brier-1"
    assert reward(texts, label=[truth] * 3) == PAID


@pytest.mark.parametrize(
    "votes",
    [
        {"joy": 3, "fear": 1, "awe": None},
        [3, 1, 0],
        [{"label": "joy", "count": 3}, {"label": "fear", "count": 1}],
    ],
)
def test_agreement_pays_by_the_share_of_raters_however_votes_are_stored(votes: Any):
    reward = reward_function(labels=LABELS, correctness="agreement")
    shares = [0.75 * 0.96 - 0.25 * 0.64, 0.25 * 0.96 - 0.75 * 0.64, -1.0]
    assert reward(TEXTS, votes=[votes] * 3) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["joy"] * 3}, "add a column 'candidates'"),
        ({"candidates": [LABELS] * 3}, "no column of true labels"),
        (COLUMNS | {"label": ["joy", "anger", "joy"]}, "row 1: the true label 'anger' is not among"),
        (COLUMNS | {"label": [0, 0, 3]}, "row 2: the true label 3"),
        (COLUMNS | {"label": [0, True, 0]}, "row 1: the true label True"),
        (COLUMNS | {"candidates": ["joy, fear"] * 3}, "row 0: .* give a list"),
        (COLUMNS | {"votes": [[1, 2]] * 3}, "row 0: 2 votes for 3"),
        (COLUMNS | {"votes": [{"rage": 1}] * 3}, "row 0: votes for 'rage'"),
    ],
)
def test_columns_that_do_not_say_what_is_right_are_refused(columns: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        brier(TEXTS, **columns)


def test_columns_of_another_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        brier(TEXTS, candidates=[LABELS] * 3, label=["joy"] * 2)


@pytest.mark.parametrize("labels", ["mikels-9", ["joy"], ["joy", "joy"]])
def test_labels_that_are_none_are_refused(labels: Any):
    with pytest.raises(UserError, match="labels: "):
        reward_function(labels=labels)


def test_an_unsafe_reward_warns_in_both_contracts():
    with pytest.warns(UnsafeReward):
        reward_function("log-1")
    with pytest.warns(UnsafeReward):
        compute_score("emotions", RIGHT, "joy", None, reward="brier-2", labels=LABELS)


def test_verl_gets_the_same_numbers():
    extra = {"candidates": LABELS, "num_turns": None, "rollout_reward_scores": {}, "answer": "not the label"}
    called = [
        compute_score(data_source="emotions", solution_str=text, ground_truth="joy", extra_info=extra, router=None)
        for text in TEXTS
    ]
    assert called == PAID
    assert [compute_score("x", text, {"label": 0, "candidates": LABELS}) for text in TEXTS] == PAID
    assert [compute_score("x", text, "joy", {}, labels=LABELS) for text in TEXTS] == PAID


@given(st.text(max_size=60), st.sampled_from(["brier", "spherical", "overconfidence", "underconfidence"]))
def test_every_text_is_paid_a_number(text: str, name: str):
    [paid] = getattr(rewards, name)([text], candidates=[LABELS], label=["joy"])
    assert math.isfinite(paid)
