"""Preference pairs prefer a confidence, never a wrong label, and the report counts what was left out."""

from __future__ import annotations

import pytest

from emocaliber.reading import read_response
from emocaliber.stages.pairs import Draw, preference_pairs
from emocaliber.stages.rewards import named_reward

CANDIDATES = ("happy", "sad", "angry")
BRIER = named_reward("brier-1")


def draws(name: str, *said: tuple[str, float] | str) -> list[Draw]:
    texts = [
        answer if isinstance(answer, str) else f"<answer>{answer[0]}</answer><confidence>{answer[1]:.2f}</confidence>"
        for answer in said
    ]
    return [Draw(name, "t", CANDIDATES, "happy", text) for text in texts]


def test_right_and_sure_is_chosen_over_right_and_unsure_and_wrong_and_unsure_over_wrong_and_sure():
    answers = draws("1", ("happy", 0.3), ("happy", 0.9), ("sad", 0.8), ("sad", 0.2), ("happy", 0.6))
    pairs, _ = preference_pairs(answers, BRIER, 0.01)
    assert {(pair.kind, pair.chosen, pair.rejected) for pair in pairs} == {
        ("right", answers[1].text, answers[0].text),
        ("wrong", answers[3].text, answers[2].text),
    }


def test_margins_are_the_scoring_rules():
    pairs, _ = preference_pairs(draws("1", ("happy", 0.3), ("happy", 0.9)), BRIER, 0.01)
    assert pairs[0].margin == pytest.approx((1 - 0.1**2) - (1 - 0.7**2))


def test_both_answers_of_every_pair_name_one_label():
    answers = [draw for n in range(40) for draw in draws(str(n), *((CANDIDATES[(n + k) % 3], ((7 * n + k) % 11) / 10)
                                                                 for k in range(6)))]  # fmt: skip
    pairs, report = preference_pairs(answers, BRIER, 0.01)
    assert pairs
    for pair in pairs:
        chosen, rejected = (read_response(text, CANDIDATES) for text in (pair.chosen, pair.rejected))
        assert chosen.label == rejected.label
        assert (chosen.confidence > rejected.confidence) == (pair.kind == "right")  # type: ignore[operator]
        assert pair.margin > 0
    assert report.answers == 240


def test_the_report_says_why_samples_gave_no_pair():
    answers = [
        *draws("single", ("happy", 0.5)),
        *draws("garbage", "nothing", ("happy", 0.5)),
        *draws("apart", ("happy", 0.5), ("sad", 0.5)),
        *draws("close", ("happy", 0.5), ("happy", 0.5)),
    ]
    pairs, report = preference_pairs(answers, BRIER, 0.01)
    assert pairs == []
    assert report.unreadable == 1
    assert set(report.without) == {
        "a single answer",
        "fewer than two readable answers",
        "no two answers with one label",
        "no two confidences far enough apart",
    }
    assert sum(report.without.values()) == report.samples == 4


def test_pairs_of_one_kind_alone_are_warned_of():
    right = [draw for n in range(20) for draw in draws(str(n), ("happy", 0.3), ("happy", 0.9))]
    assert "0 of 20 pairs are about wrong answers: they teach overconfidence" in str(
        preference_pairs(right, BRIER, 0.01)[1].one_sided
    )
    wrong = [draw for n in range(20, 40) for draw in draws(str(n), ("sad", 0.3), ("sad", 0.9))]
    assert preference_pairs(right + wrong, BRIER, 0.01)[1].one_sided is None


def test_no_answers_are_an_error():
    with pytest.raises(ValueError, match="no answers"):
        preference_pairs([], BRIER, 0.01)
