"""The figures on held-out rows are the scorecard's, and trouble is told with what to do about it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from emocaliber.stages.calibrate.held_out_metrics import (
    Collapse,
    Hacking,
    Stated,
    alarms,
    costs,
    gain,
    held_out_numbers,
)

GOOD = {"brier": 0.2, "ece": 0.05, "calibration_error": 0.05, "mean": 0.6, "accuracy": 0.6, "spread": 0.2,
        "distinct": 15.0, "near_zero": 0.02, "malformed": 0.0}  # fmt: skip


def test_a_malformed_answer_is_wrong_and_costs_the_most():
    stated = [Stated("happy", 1.0), Stated("sad", 0.0), Stated("happy", 0.5, formed=False), Stated("happy", 0.05)]
    numbers = held_out_numbers(stated, ["happy", "happy", "happy", "sad"])
    assert numbers["brier"] == pytest.approx((0 + 0 + 1 + 0.05**2) / 4)
    assert numbers["accuracy"] == 0.25
    assert numbers["malformed"] == 0.25
    assert numbers["near_zero"] == 0.5
    assert numbers["distinct"] == 3


def test_always_sure_and_always_wrong_is_the_worst_calibration_not_the_best():
    numbers = held_out_numbers([Stated("happy", 1.0)] * 4, ["sad"] * 4)
    assert numbers["ece"] == numbers["calibration_error"] == numbers["brier"] == 1.0


def test_where_every_answer_is_malformed_the_figures_are_the_worst_and_finite():
    numbers = held_out_numbers([Stated("happy", 0.9, formed=False)] * 3, ["happy"] * 3)
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


TRUTHS = ["happy"] * 40
CLUSTERS = [str(n) for n in range(40)]


def line(start: list[float], now: list[float], clusters: list[str]) -> dict[str, float]:
    before, after = (costs([Stated("happy", c) for c in stated], TRUTHS) for stated in (start, now))
    return gain(before, after, clusters)


def test_the_costs_mean_is_the_brier_score():
    stated = [Stated("happy", 0.9), Stated("sad", 0.4), Stated("happy", 0.5, formed=False)]
    assert costs(stated, TRUTHS[:3]).mean() == pytest.approx(held_out_numbers(stated, TRUTHS[:3])["brier"])


def test_a_gain_that_a_few_rows_made_is_within_its_error_and_one_of_many_rows_beyond_it():
    few = line([0.5] * 40, [0.9, 0.35, *[0.5] * 38], CLUSTERS)
    many = line([0.5] * 40, [0.6] * 30 + [0.4] * 10, CLUSTERS)
    assert 0 < few["gain"] < few["gain_error"]
    assert many["gain"] > 2 * many["gain_error"] > 0


def test_rows_of_one_cluster_count_as_one_in_the_error():
    now = [0.7] * 20 + [0.45] * 20
    alone, together = (line([0.5] * 40, now, clusters) for clusters in (CLUSTERS, [str(n // 10) for n in range(40)]))
    assert alone["gain"] == together["gain"]
    assert together["gain_error"] > 3 * alone["gain_error"]
    assert gain(np.ones(4), np.zeros(4), list("aaaa")) == {"gain": 1.0, "gain_error": 1.0, "gain_p": 1.0}


def test_the_p_value_is_that_of_the_one_sided_paired_t_test():
    before, now = np.random.default_rng(0).random((2, 40))
    of_scipy = ttest_rel(before, now, alternative="greater")
    assert gain(before, now, CLUSTERS)["gain_p"] == pytest.approx(of_scipy.pvalue)
    assert gain(now, before, CLUSTERS)["gain_p"] == pytest.approx(1 - of_scipy.pvalue)
    assert gain(before, before, CLUSTERS)["gain_p"] == 1.0
