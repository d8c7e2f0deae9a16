"""The figures on held-out rows are the scorecard's, and trouble is told with what to do about it."""

from __future__ import annotations

import pytest

from emocaliber.stages.calibrate.watching import Collapse, Hacking, Stated, alarms, watch_numbers

GOOD = {"brier": 0.2, "ece": 0.05, "calibration_error": 0.05, "mean": 0.6, "accuracy": 0.6, "spread": 0.2,
        "distinct": 15.0, "near_zero": 0.02, "malformed": 0.0}  # fmt: skip


def test_a_malformed_answer_is_wrong_and_costs_the_most():
    stated = [Stated("happy", 1.0), Stated("sad", 0.0), Stated("happy", 0.5, formed=False), Stated("happy", 0.05)]
    numbers = watch_numbers(stated, ["happy", "happy", "happy", "sad"])
    assert numbers["brier"] == pytest.approx((0 + 0 + 1 + 0.05**2) / 4)
    assert numbers["accuracy"] == 0.25
    assert numbers["malformed"] == 0.25
    assert numbers["near_zero"] == 0.5
    assert numbers["distinct"] == 3


def test_always_sure_and_always_wrong_is_the_worst_calibration_not_the_best():
    numbers = watch_numbers([Stated("happy", 1.0)] * 4, ["sad"] * 4)
    assert numbers["ece"] == numbers["calibration_error"] == numbers["brier"] == 1.0


def test_where_every_answer_is_malformed_the_figures_are_the_worst_and_finite():
    numbers = watch_numbers([Stated("happy", 0.9, formed=False)] * 3, ["happy"] * 3)
    assert (numbers["brier"], numbers["accuracy"], numbers["malformed"]) == (1.0, 0.0, 1.0)


def test_no_trouble_gives_no_alarm():
    assert alarms(GOOD, GOOD, 400) == []
    assert alarms(GOOD, GOOD | {"accuracy": 0.58, "near_zero": 0.1}, 400) == []


@pytest.mark.parametrize(
    ("change", "kind", "advice"),
    [
        ({"distinct": 1.0, "spread": 0.0}, Collapse, "raise anchor"),
        ({"distinct": 3.0, "spread": 0.01}, Collapse, "around 0.60"),
        ({"malformed": 0.2}, Collapse, "lower learning_rate"),
        ({"accuracy": 0.45, "near_zero": 0.4}, Hacking, "reward: brier-1"),
    ],
)
def test_each_trouble_has_its_alarm_that_says_what_to_do(change: dict[str, float], kind: type, advice: str):
    [alarm] = alarms(GOOD, GOOD | change, 400)
    assert isinstance(alarm, kind)
    assert advice in str(alarm)


def test_accuracy_that_falls_alone_is_not_called_hacking():
    assert alarms(GOOD, GOOD | {"accuracy": 0.4}, 400) == []
