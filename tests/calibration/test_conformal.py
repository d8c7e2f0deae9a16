"""Conformal thresholds: the exact quantile, the promise on new rows and on drawn raters, and ties that are no order."""

import math

import numpy as np
import pytest

from emocaliber.calibration.conformal import Penalty, never_empty, scores, threshold


@pytest.mark.parametrize(("n", "coverage"), [(9, 0.9), (10, 0.9), (19, 0.95), (37, 0.8), (200, 0.9)])
def test_the_threshold_is_the_exact_order_statistic(n: int, coverage: float) -> None:
    found = np.random.default_rng(n).random(n)
    place = math.ceil(round((n + 1) * coverage, 9))
    assert threshold(found, np.ones(n), coverage) == np.sort(found)[place - 1]


def test_too_few_rows_hold_every_label() -> None:
    assert threshold(np.array([0.1] * 8), np.ones(8), 0.9) == math.inf
    assert threshold(np.array([0.1] * 9), np.ones(9), 0.9) == 0.1


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90.0])
def test_what_is_no_share_cannot_be_promised(coverage: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold(np.ones(3), np.ones(3), coverage)


def test_over_calibration_sets_the_coverage_is_what_is_promised_and_hardly_more() -> None:
    random, n, coverage = np.random.default_rng(0), 50, 0.9
    shares = [threshold(random.random(n), np.ones(n), coverage) for _ in range(4000)]  # uniform: the limit is coverage
    expected = math.ceil((n + 1) * coverage) / (n + 1)
    assert abs(np.mean(shares) - expected) < 4 * np.std(shares) / math.sqrt(4000)


def test_the_answer_of_a_drawn_rater_is_held_however_alike_the_raters_of_a_row_are() -> None:
    """Raters of a row agree wholly: pooling their votes as if they were independent rows would promise too much."""
    random, rows, raters, coverage = np.random.default_rng(1), 20, 10, 0.9
    held = []
    for _ in range(3000):
        found = np.repeat(random.random(rows), raters)
        limit = threshold(found, np.full(rows * raters, 1 / raters), coverage, rows)
        held.append(min(limit, 1.0))
    assert np.mean(held) >= coverage - 3 * np.std(held) / math.sqrt(3000)


@pytest.mark.parametrize("kind", ["lac", "aps", "raps"])
def test_labels_of_equal_share_have_equal_scores_in_any_order(kind: str) -> None:
    shares = np.array([[0.4, 0.2, 0.2, 0.2], [0.25, 0.25, 0.25, 0.25]])
    uniform, penalty = np.array([0.3, 0.8]), Penalty(0.1, 1)
    found = scores(shares, uniform, kind, penalty)  # type: ignore[arg-type]
    assert np.ptp(found[0, 1:]) == 0
    assert np.ptp(found[1]) == 0
    turned = scores(shares[:, ::-1], uniform, kind, penalty)  # type: ignore[arg-type]
    np.testing.assert_allclose(turned, found[:, ::-1])


def test_randomised_aps_of_the_true_distribution_is_uniform() -> None:
    """Where shares are the truth, the score of the answer is uniform (Romano, Sesia & Candès 2020, section 2)."""
    random = np.random.default_rng(2)
    shares = random.dirichlet([0.5] * 4, 20_000)
    answer = (random.random(20_000)[:, None] > shares.cumsum(1)).sum(1).clip(max=3)
    found = scores(shares, random.random(20_000), "aps")[np.arange(20_000), answer]
    np.testing.assert_allclose(np.quantile(found, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.015)


def test_an_empty_set_holds_what_is_likeliest() -> None:
    shares = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
    held = never_empty(np.zeros((2, 3), bool), shares)
    assert held.tolist() == [[True, False, False], [True, True, False]]
