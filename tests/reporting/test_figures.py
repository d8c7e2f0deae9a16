"""Figures draw what they are given: every method, every bin, and a word where a value is undefined."""

from __future__ import annotations

from emocaliber.evaluation.curves import HistogramBin, ReliabilityBin, RiskCoverage, TrustedCurve
from emocaliber.evaluation.scorecard import Estimate, Scorecard
from emocaliber.reporting.curves import (
    POINTS,
    histogram_panel,
    inside_band,
    reliability_panel,
    risk_coverage_panel,
    shortened,
    thinned,
    training_panel,
    trusted_panel,
)
from emocaliber.reporting.subset_figures import subsets_panel
from emocaliber.reporting.svg import PAGE
from tests.reporting.pages import Page


def texts(svg: str) -> str:
    return Page(svg).text


def test_each_bin_shows_its_count_and_a_point_outside_its_band_is_hollow():
    inside = ReliabilityBin(0.6, 0.7, 311, 0.65, 0.66, 0.6, 0.7)
    outside = ReliabilityBin(0.8, 0.9, 157, 0.85, 0.5, 0.8, 0.9)
    assert inside_band(inside)
    assert not inside_band(outside)
    full = reliability_panel("a", "m", [inside]).svg
    hollow = reliability_panel("a", "m", [outside]).svg
    assert "311" in texts(full)
    assert "157" in texts(hollow)
    assert f"fill: var(--page, {PAGE.light})" in hollow
    assert f"fill: var(--page, {PAGE.light})" not in full


def test_axes_are_labelled_with_their_units(single: Scorecard):
    curves = single.method("tiny").find("all").curves
    reliability = texts(reliability_panel("a", "m", curves.reliability).svg)
    assert "Confidence (0 to 1)" in reliability
    assert "Accuracy (0 to 1)" in reliability
    risk = texts(risk_coverage_panel("a", "m", {"tiny": curves.risk_coverage}).svg)
    assert "Coverage (% of samples answered)" in risk
    assert "Risk (% wrong among them)" in risk
    assert "Answers (count)" in texts(histogram_panel("a", "m", curves.histogram).svg)


def test_a_figure_tells_its_content_in_words(single: Scorecard):
    bins = single.method("tiny").find("all").curves.reliability
    words = texts(reliability_panel("a", "m", bins).svg)
    assert all(f"accuracy {point.accuracy:.2f}, n {point.count}" in words for point in bins)


def test_a_method_without_any_answer_is_drawn_empty():
    empty = [HistogramBin(number / 20, (number + 1) / 20, 0, 0) for number in range(20)]
    assert "0 correct answers, 0 wrong ones" in texts(histogram_panel("a", "m", empty).svg)
    assert "Reliability diagram" in texts(reliability_panel("a", "m", []).svg)
    assert texts(trusted_panel("a", "m", TrustedCurve([], [], [], [], []), [], None).svg)


def test_undefined_precision_leaves_a_gap_and_no_error():
    curve = TrustedCurve([0.2, 0.9], [0.5, None], [1.0, None], [0.5, 0.5], [0.6, 0.0])
    assert "recall" in texts(trusted_panel("a", "m", curve, [0.2], 0.66).svg)


def test_an_undefined_value_is_said_in_words():
    values = {"Task “emoji”": {"a": Estimate(0.3, 0.2, 0.4), "b": Estimate(None)}}
    assert "undefined here" in texts(subsets_panel("a", "AUROC", "AUROC (0 to 1)", values).svg)


def test_every_method_and_every_scope_is_named():
    estimate = Estimate(0.3, 0.2, 0.4)
    words = texts(
        subsets_panel(
            "a", "ECE", "ECE (0 to 1)", {"first": {"m1": estimate, "m2": estimate}, "second": {"m1": estimate}}
        ).svg
    )
    assert all(name in words for name in ("first", "second", "m1", "m2"))


def test_a_million_points_are_thinned_and_keep_their_ends():
    points = thinned(1_000_000)
    assert len(points) == POINTS
    assert (points[0], points[-1]) == (0, 999_999)
    assert thinned(3) == [0, 1, 2]
    curve = RiskCoverage([n / 50_000 for n in range(1, 50_001)], [0.3] * 50_000)
    assert len(risk_coverage_panel("a", "m", {"m": curve}).svg) < 60_000


def test_long_names_keep_their_beginning_and_their_end():
    short = shortened("first run of the experiment with a very long name [folder/predictions-7]")
    assert len(short) <= 46
    assert short.startswith("first run")
    assert short.endswith("predictions-7]")


def test_a_training_curve_marks_the_selected_step():
    svg = training_panel("a", "stage 3", "held-out Brier", [(0, 0.25), (10, 0.21), (20, 0.22)], 10).svg
    assert "selected: step 10" in texts(svg)
    assert "Held-out Brier" in texts(svg)
