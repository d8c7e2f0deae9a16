"""Post-hoc maps recover what was distorted and never reorder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emocaliber.calibration.maps import (
    Beta,
    fit_beta,
    fit_confidence_temperature,
    fit_isotonic,
    fit_temperature,
    tempered,
)


def _drawn(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(5, 0.7), size=n)
    truth = np.array([random.choice(5, p=row) for row in shares])
    return shares, truth


def test_the_temperature_that_distorted_calibrated_shares_is_found_again() -> None:
    shares, truth = _drawn()
    sharpened = tempered(shares, 0.5)
    assert fit_temperature(sharpened, truth) == pytest.approx(2.0, rel=0.08)


def test_calibrated_shares_keep_a_temperature_of_one() -> None:
    assert fit_temperature(*_drawn()) == pytest.approx(1.0, rel=0.08)


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6), st.floats(0.1, 10.0))
@settings(max_examples=60, deadline=None)
def test_tempering_keeps_the_order_and_the_sum(weights: list[float], temperature: float) -> None:
    shares = np.array([weights]) / sum(weights)
    scaled = tempered(shares, temperature)
    assert scaled.sum() == pytest.approx(1.0)
    order = np.argsort(shares[0], kind="stable")
    assert (np.diff(scaled[0][order]) >= -1e-12).all()


def test_the_isotonic_map_is_monotone_and_holds_its_ends() -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.3, 0.9, 3000)
    correct = random.uniform(size=3000) < confidence**2
    apply = fit_isotonic(confidence, correct)
    grid = apply(np.linspace(0, 1, 50))
    assert (np.diff(grid) >= 0).all()
    assert apply(np.array([0.6]))[0] == pytest.approx(0.36, abs=0.06)
    assert apply(np.array([0.0]))[0] == apply(np.array([0.3]))[0]


def test_no_rows_are_an_error_not_a_map() -> None:
    with pytest.raises(ValueError, match="at least one"):
        fit_temperature(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    with pytest.raises(ValueError, match="at least one"):
        fit_isotonic(np.empty(0), np.empty(0, dtype=np.bool_))


@pytest.mark.parametrize(("a", "b", "c"), [(1.0, 1.0, 0.0), (0.4, 0.9, 0.3), (2.0, 0.5, -0.4)])
def test_the_beta_map_that_made_the_rows_is_found_again(a: float, b: float, c: float) -> None:
    random = np.random.default_rng(2)
    confidence = random.uniform(0.02, 0.98, 40_000)
    truth = Beta(a, b, c)
    fitted = fit_beta(confidence, random.uniform(size=40_000) < truth(confidence))
    grid = np.linspace(0.05, 0.95, 30)
    assert np.abs(fitted(grid) - truth(grid)).max() < 0.02


def test_the_identity_is_in_the_beta_family() -> None:
    grid = np.linspace(0.01, 0.99, 50)
    assert Beta(1.0, 1.0, 0.0)(grid) == pytest.approx(grid)


@pytest.mark.parametrize("right", [True, False])
def test_rows_of_one_outcome_give_maps_with_finite_values(right: bool) -> None:
    confidence, correct = np.array([0.0, 0.3, 1.0]), np.full(3, right)
    grid = np.linspace(0, 1, 11)
    for fitted in (
        fit_beta(confidence, correct),
        fit_isotonic(confidence, correct),
        fit_confidence_temperature(confidence, correct),
    ):
        assert np.isfinite(fitted(grid)).all()
        assert (np.diff(fitted(grid)) >= -1e-12).all()
