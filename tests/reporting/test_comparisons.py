"""Paired differences are found whichever way round they were stored, and constants whoever's name they bear."""

from __future__ import annotations

import pytest

from emocaliber.evaluation.scorecard import Difference, Scorecard
from emocaliber.reporting.comparisons import against_constant, constant_of, find_comparison, reversed_difference
from emocaliber.reporting.run_summary import RunSummary
from tests.reporting.synthetic import STAGE_2, STATED


def test_turning_a_difference_round_swaps_its_bounds():
    assert reversed_difference(Difference(0.2, 0.1, 0.4, 0.01)) == Difference(-0.2, -0.4, -0.1, 0.01)
    assert reversed_difference(Difference(None)) == Difference(None)


def test_both_directions_are_found_and_are_opposite(pair: Scorecard):
    scores = pair.method("calibrated").find("all")
    one = find_comparison(pair.comparisons, "calibrated", "over-confident", scores)
    other = find_comparison(pair.comparisons, "over-confident", "calibrated", scores)
    assert one.headline["brier"].value == pytest.approx(-other.headline["brier"].value)
    own = [pair.method(name).find("all").headline["brier"].value for name in (one.first, one.second)]
    assert one.headline["brier"].value == pytest.approx(own[0] - own[1])


def test_what_was_not_compared_is_not_found(pair: Scorecard):
    assert find_comparison(pair.comparisons, "calibrated", "nobody", pair.methods[0].find("all")) is None


def test_the_constant_is_found_under_the_name_of_another_method_with_the_same_labels(run: RunSummary):
    stated = run.scorecard.method(STATED)
    floor = constant_of(run.scorecard, stated)
    assert STATED not in floor.name
    difference = against_constant(run.scorecard, stated, stated.find("all")).headline["brier"].value
    expected = stated.find("all").headline["brier"].value - difference
    assert floor.find("all").headline["brier"].value == pytest.approx(expected)


def test_every_method_of_a_run_has_its_constant(run: RunSummary):
    assert constant_of(run.scorecard, run.scorecard.method(STAGE_2)) is not None
