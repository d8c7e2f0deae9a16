"""Bradley-Terry: strengths that a known solution has, the conditions of the maximum, and finite ones for all."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from emocaliber.calibration.bradley_terry import PRIOR, log_strengths


def test_two_players_have_the_strengths_that_can_be_written_down():
    """By symmetry the two are at t and -t, and the prior's draws pull as a weight at sigma(t) - 1/2."""
    share, matches = 0.8, 6
    found = log_strengths(2, [0] * matches, [1] * matches, [share] * matches)
    assert found[0] == pytest.approx(-found[1])
    gradient = matches * (share - expit(2 * found[0])) + PRIOR * (0.5 - expit(found[0]))
    assert gradient == pytest.approx(0.0, abs=1e-7)


def test_without_a_prior_to_speak_of_a_pair_has_the_log_odds_of_its_share():
    found = log_strengths(2, [0], [1], [0.8], prior=1e-6)
    assert found[0] - found[1] == pytest.approx(logit(0.8), abs=1e-4)


def test_the_fit_is_the_maximum_of_the_penalised_likelihood():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 30, 200), random.integers(0, 30, 200)
    first, second = first[first != second], second[first != second]
    won = random.random(len(first))

    def loss(theta: np.ndarray) -> float:
        gap = theta[first] - theta[second]
        matches = won * np.logaddexp(0, -gap) + (1 - won) * np.logaddexp(0, gap)
        return float(matches.sum() + PRIOR / 2 * (np.logaddexp(0, theta) + np.logaddexp(0, -theta)).sum())

    expected = minimize(loss, np.zeros(30), method="BFGS", options={"gtol": 1e-8}).x
    assert log_strengths(30, first, second, won) == pytest.approx(expected, abs=1e-4)


def test_whoever_never_lost_is_strongest_and_finite_and_whoever_never_played_is_average():
    found = log_strengths(4, [0, 0, 1], [1, 2, 2], [1.0, 1.0, 1.0])
    assert np.isfinite(found).all()
    assert found[0] > found[1] > found[2]
    assert found[3] == 0.0


def test_known_strengths_stay_and_the_others_are_measured_against_them():
    known = [np.nan, 2.0, 2.0, -1.0]
    found = log_strengths(4, [0, 0], [1, 2], [0.5, 0.5], known=known)
    assert found[1:].tolist() == known[1:]
    assert 1.0 < found[0] < 2.0, "draws against strong players, less the prior"


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"won of match 0 is 1\.5"):
        log_strengths(2, [0], [1], [1.5])
