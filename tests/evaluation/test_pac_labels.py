"""The promise of a review is kept: at most a share α of draws leaves more than ε wrong."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from emocaliber.evaluation.pac_labels import (
    ReviewPlan,
    failure_probability,
    kept_rows,
    mistakes_allowed,
    most_confident_first,
    plan_review,
    simulate_reviews,
)

RUNS = 600
WORLDS = {
    "calibrated": lambda confidence, rng: rng.random(confidence.size) > confidence,
    "overconfident": lambda confidence, rng: rng.random(confidence.size) > confidence**4,
    "the surest are wrong": lambda confidence, rng: np.argsort(np.argsort(-confidence)) < 0.3 * confidence.size,
    "as many wrong as may stay, and one more": lambda confidence, rng: np.argsort(np.argsort(-confidence)) < 31,
    "all wrong": lambda confidence, rng: np.ones(confidence.size, bool),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("n", "error", "certainty"), [(600, 0.05, 0.9), (60, 0.1, 0.8), (300, 0.01, 0.9)])
def test_the_promise_is_broken_no_more_often_than_promised(world: str, n: int, error: float, certainty: float):
    rng = np.random.default_rng(n)
    confidence = rng.beta(5, 1.5, n)
    wrong = WORLDS[world](confidence, rng)[most_confident_first(confidence, 0)]
    plan = plan_review(confidence, error=error, certainty=certainty)
    _, left = simulate_reviews(wrong, plan, RUNS, seed=1)
    most = binom.ppf(1 - 1e-4, RUNS, 1 - certainty)  # what chance alone may make of a promise that is just kept
    assert (left > error * n).sum() <= most


def test_one_mistake_more_would_break_it():
    """The bound is exact: the simulation fails where one mistake more is allowed in the worst world."""
    n, sample, left = 1000, 200, 50
    allowed = mistakes_allowed(n, sample, left, 0.9)
    worst = np.arange(n) < allowed + 1 + left + 1
    loose = ReviewPlan(n, n, sample, left, allowed + 1, 0.9, 0)
    _, remaining = simulate_reviews(worst, loose, 4000, seed=0)
    assert (remaining > left).mean() == pytest.approx(failure_probability(n, sample, left, allowed + 1), abs=0.02)
    assert failure_probability(n, sample, left, allowed) <= 0.1 < failure_probability(n, sample, left, allowed + 1)


def test_the_probability_is_that_of_all_draws():
    """Every sample of 3 of 8 rows, the mistakes first in the order."""
    for left in (0, 1, 2):
        for allowed in (0, 1, 2):
            wrong = np.arange(8) < allowed + left + 1
            broken = []
            for drawn in combinations(range(8), 3):
                sampled = np.isin(np.arange(8), drawn)
                kept = kept_rows(np.arange(8), wrong & sampled, allowed)
                broken.append((wrong & kept & ~sampled).sum() > left)
            assert failure_probability(8, 3, left, allowed) == pytest.approx(np.mean(broken))


@pytest.mark.parametrize(("n", "sample", "left"), [(50, 20, 3), (10_000, 900, 500), (1_000_000, 3_000, 10_000)])
def test_it_is_the_hypergeometric_distribution_of_scipy(n: int, sample: int, left: int):
    for allowed in (0, 1, 5, 17):
        expected = hypergeom.cdf(allowed, n, allowed + left + 1, sample)
        assert failure_probability(n, sample, left, allowed) == pytest.approx(expected, rel=1e-6)


def test_fewer_mistakes_break_it_less_often():
    n, sample, left = 400, 100, 20
    allowed = mistakes_allowed(n, sample, left, 0.95)
    plan = ReviewPlan(n, n, sample, left, allowed, 0.95, 0)
    for mistakes in (left + 1, left + allowed // 2 + 1):
        _, remaining = simulate_reviews(np.arange(n) < mistakes, plan, 2000, seed=0)
        assert (remaining > left).mean() <= failure_probability(n, sample, left, allowed) + 0.02


def test_rows_are_kept_up_to_the_first_mistake_too_many():
    order = np.array([3, 1, 0, 2, 4])
    wrong = np.array([True, False, False, True, False])
    assert kept_rows(order, wrong, 1).tolist() == [False, True, False, True, False]
    assert kept_rows(order, wrong, 2).all()
    assert not kept_rows(order, wrong, -1).any()
    assert kept_rows(order, np.zeros(5, bool), 0).all()


def test_what_the_confidences_say_is_a_matter_of_work_alone():
    """A better order keeps more, and the plan expects about what happens."""
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 1, 2000)
    wrong = rng.random(2000) > confidence
    plan = plan_review(confidence, error=0.05, certainty=0.95)
    by_confidence, _ = simulate_reviews(wrong[most_confident_first(confidence, 0)], plan, 100, seed=0)
    at_random, _ = simulate_reviews(wrong[rng.permutation(2000)], plan, 100, seed=0)
    assert by_confidence.mean() < 0.75 * at_random.mean()
    assert by_confidence.mean() < plan.expected_work < 2000


def test_ties_are_ordered_by_the_second_signal_and_then_by_chance():
    assert most_confident_first([0.5, 0.9, 0.5], 0, [0.1, 0.2, 0.7]).tolist() == [1, 2, 0]
    tied = {tuple(most_confident_first([0.5] * 4, seed)) for seed in range(30)}
    assert len(tied) > 5


def test_the_ends():
    assert plan_review([0.2, 0.3], error=0.9, certainty=0.95).sample < 2
    tiny = plan_review([0.9] * 5, error=0.01, certainty=0.95)
    assert (tiny.left, tiny.expected_work) == (0, 5)
    assert plan_review([], error=0.05, certainty=0.95, settled=7).rows == 7
    with pytest.raises(ValueError, match="between 0 and 1"):
        plan_review([0.5], error=0.0, certainty=0.95)
