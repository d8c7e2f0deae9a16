"""Paired differences are found whichever way round they were stored, and constants whoever's name they bear."""

from __future__ import annotations

import pytest

from emocaliber.evaluation.scorecard import Difference, Scorecard
from emocaliber.reporting.comparisons import (
    against_constant,
    constant_of,
    difference_cell,
    difference_table,
    find_comparison,
    reversed_difference,
    verdict,
)
from emocaliber.reporting.document import Cell
from emocaliber.reporting.run_summary import RunSummary
from tests.reporting.synthetic import STAGE_2, STATED


def test_turning_a_difference_round_swaps_its_bounds():
    assert reversed_difference(Difference(0.2, 0.1, 0.4, 0.01)) == Difference(-0.2, -0.4, -0.1, 0.01)
    assert reversed_difference(Difference(None)) == Difference(None)


def test_both_directions_are_found_and_are_opposite(pair: Scorecard):
    scores = pair.method("calibrated").find("all")
    forward = find_comparison(pair.comparisons, "calibrated", "over-confident", scores)
    other = find_comparison(pair.comparisons, "over-confident", "calibrated", scores)
    assert forward.headline["brier"].value == pytest.approx(-other.headline["brier"].value)
    own = [pair.method(name).find("all").headline["brier"].value for name in (forward.first, forward.second)]
    assert forward.headline["brier"].value == pytest.approx(own[0] - own[1])


def test_what_was_not_compared_is_not_found(pair: Scorecard):
    assert find_comparison(pair.comparisons, "calibrated", "nobody", pair.methods[0].find("all")) is None


def test_the_constant_is_found_under_the_name_of_another_method_with_the_same_labels(run: RunSummary):
    stated = run.scorecard.method(STATED)
    constant = constant_of(run.scorecard, stated)
    assert STATED not in constant.name
    difference = against_constant(run.scorecard, stated, stated.find("all")).headline["brier"].value
    expected = stated.find("all").headline["brier"].value - difference
    assert constant.find("all").headline["brier"].value == pytest.approx(expected)


def test_every_method_of_a_run_has_its_constant(run: RunSummary):
    assert constant_of(run.scorecard, run.scorecard.method(STAGE_2)) is not None


@pytest.mark.parametrize(
    ("metric", "low", "high", "said"),
    [
        ("brier", -0.03, -0.01, "better"),
        ("brier", 0.01, 0.03, "worse"),
        ("auroc", 0.01, 0.03, "better"),
        ("accuracy", -0.03, -0.01, "worse"),
        ("ece", -0.01, 0.01, "no clear difference"),
        ("ece", 0.0, 0.0, "no difference"),
    ],
)
def test_a_verdict_follows_the_interval_and_the_metrics_direction(metric: str, low: float, high: float, said: str):
    assert verdict(Difference((low + high) / 2, low, high), metric) == said


def test_a_difference_without_interval_has_no_verdict():
    assert verdict(Difference(0.1), "brier") == "undefined"


def test_a_difference_carries_its_sign_its_meaning_and_its_p_value():
    assert difference_cell(Difference(-0.02, -0.03, -0.01), "brier") == Cell("−0.020", "−0.030 to −0.010; better")
    assert difference_cell(Difference(-0.02, -0.03, -0.01, 0.004), "brier").detail.endswith("; better, p = 0.004")


def test_a_difference_from_an_oracle_says_so(pair: Scorecard, single: Scorecard):
    rows = difference_table("d", pair.comparisons, pair).rows
    against = {row[0].detail for row in rows if "constant" in row[0].detail}
    assert against == {f"minus constant per task ({name}) (oracle)" for name in ("calibrated", "over-confident")}
    rows = difference_table("d", single.comparisons, single).rows
    assert not any("oracle" in cell.text + cell.detail for row in rows for cell in row)
