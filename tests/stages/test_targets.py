"""Targets state the confidence they were given, spread over the levels around it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.core.samples import Sample
from emocaliber.reading import read_response
from emocaliber.stages.targets import (
    apportioned,
    distilled_examples,
    distribution_examples,
    nearest_level,
    spread_over_levels,
    vote_examples,
)

TEMPLATE = load_template("label-confidence")


def sample(**changes: object) -> Sample:
    fields = {
        "id": "1",
        "image": b"",
        "task": "t",
        "candidates": ("happy", "sad", "angry"),
        "label": "sad",
        "split": "train",
        "group": "g",
        "cluster": "1",
    }
    return Sample(**(fields | changes))  # type: ignore[arg-type]


@given(st.floats(0.0, 1.0))
def test_two_hot_targets_have_the_confidence_as_their_mean(confidence: float) -> None:
    target = np.array(spread_over_levels(confidence, 0.0))
    assert target.sum() == pytest.approx(1.0)
    assert (target > 1e-9).sum() <= 2
    assert float(target @ np.array(LEVELS)) == pytest.approx(confidence, abs=1e-9)


@given(st.floats(0.0, 1.0), st.sampled_from([0.05, 0.1, 0.15]))
def test_a_spread_target_peaks_at_the_level_that_is_written(confidence: float, spread: float) -> None:
    target = np.array(spread_over_levels(confidence, spread))
    assert target.sum() == pytest.approx(1.0)
    assert target[LEVELS.index(nearest_level(confidence))] == pytest.approx(target.max())


@given(st.floats(0.0, 1.0), st.sampled_from([0.05, 0.1, 0.15]))
def test_a_spread_target_teaches_the_confidence_near_the_ends_of_the_scale_too(
    confidence: float, spread: float
) -> None:
    target = np.array(spread_over_levels(confidence, spread))
    assert float(target @ np.array(LEVELS)) == pytest.approx(confidence, abs=0.006)


def test_a_confidence_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="no probability"):
        spread_over_levels(1.2, 0.05)


def test_a_distilled_lesson_is_read_back_as_what_the_teacher_believed() -> None:
    [example] = distilled_examples([sample()], [np.array([0.2, 0.7, 0.1])], np.array([0.63]), TEMPLATE, 0.05)
    reading = read_response(example.completion, example.sample.candidates)
    assert (reading.label, reading.confidence) == ("sad", 0.65)
    assert example.label_target == (0.2, 0.7, 0.1)


def test_votes_become_the_raters_share() -> None:
    [example] = vote_examples([sample(votes={"sad": 3, "happy": 1})], TEMPLATE, 0.05)
    assert read_response(example.completion, example.sample.candidates).confidence == 0.75
    assert example.label_target == (0.25, 0.75, 0.0)


def test_votes_teach_stage_1_their_distribution_and_no_confidence() -> None:
    [example] = vote_examples([sample(votes={"sad": 3, "happy": 1})], load_template("label"), 0.05)
    assert example.completion == load_template("label").write(label="sad")
    assert (example.label_target, example.level_target) == ((0.25, 0.75, 0.0), None)


def test_of_raters_who_tie_the_first_favourite_is_written_and_the_distribution_learned() -> None:
    [example] = vote_examples([sample(label=None, votes={"sad": 2, "happy": 1, "angry": 2})], TEMPLATE, 0.0)
    reading = read_response(example.completion, example.sample.candidates)
    assert (reading.label, reading.confidence) == ("sad", 0.4)
    assert example.label_target == (0.2, 0.4, 0.4)


def test_a_label_that_no_rater_chose_is_said_without_confidence() -> None:
    [example] = vote_examples([sample(label="happy", votes={"sad": 4})], TEMPLATE, 0.05)
    assert example.completion == TEMPLATE.write(label="happy", confidence=0.0)


def test_votes_are_not_made_up() -> None:
    with pytest.raises(ValueError, match="needs rater votes"):
        vote_examples([sample()], TEMPLATE, 0.05)
    with pytest.raises(ValueError, match="needs rater votes"):
        vote_examples([sample(votes={"sad": 0, "happy": 0})], TEMPLATE, 0.05)


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=25))
def test_an_apportioned_distribution_sums_to_one_and_is_near_the_shares(weights: list[float]) -> None:
    shares = np.array(weights) / np.sum(weights)
    stated = np.array(apportioned(shares))
    assert stated.sum() == pytest.approx(1.0)
    assert set(stated.tolist()) <= set(LEVELS)
    assert np.abs(stated - shares).max() < 0.05 + 1e-9


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match="is no distribution"):
        apportioned(np.array([0.5, 0.6]))


def test_a_stated_distribution_is_read_back_with_its_top_first() -> None:
    [example] = distribution_examples([sample()], [np.array([0.21, 0.7, 0.09])], load_template("distribution"))
    assert example.completion == "<distribution>sad 0.70, happy 0.20, angry 0.10</distribution>"
    reading = read_response(example.completion, sample().candidates)
    assert (reading.label, reading.confidence) == ("sad", 0.7)
    assert reading.distribution == {"sad": 0.7, "happy": 0.2, "angry": 0.1}


def test_votes_can_be_stated_whole() -> None:
    [example] = vote_examples([sample(votes={"sad": 3, "happy": 1})], load_template("distribution"), 0.05)
    assert example.completion == "<distribution>sad 0.75, happy 0.25, angry 0.00</distribution>"
