"""Post-hoc maps recover what was distorted and never reorder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emocaliber.calibration.maps import (
    CLIP,
    Beta,
    Isotonic,
    Platt,
    Temperature,
    bound_reached,
    fit_beta,
    fit_confidence_temperature,
    fit_isotonic,
    fit_platt,
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
@settings(max_examples=60)
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
        fit_platt(confidence, correct),
    ):
        assert np.isfinite(fitted(grid)).all()
        assert (np.diff(fitted(grid)) >= -1e-12).all()


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.5, 0.4), (2.0, -0.3)])
def test_the_platt_map_that_made_the_rows_is_found_again(a: float, b: float) -> None:
    random = np.random.default_rng(3)
    confidence = random.uniform(0.02, 0.98, 40_000)
    fitted = fit_platt(confidence, random.uniform(size=40_000) < Platt(a, b)(confidence))
    assert (fitted.a, fitted.b) == pytest.approx((a, b), abs=0.06)


def test_platts_map_without_an_intercept_is_a_temperature_and_beta_with_equal_slopes_is_platts() -> None:
    grid = np.linspace(0, 1, 21)
    assert Platt(0.5, 0.0)(grid) == pytest.approx(Temperature(2.0)(grid))
    assert Beta(0.7, 0.7, 0.2)(grid) == pytest.approx(Platt(0.7, 0.2)(grid))


def test_the_temperature_of_a_confidence_is_that_of_a_distribution_over_two_outcomes() -> None:
    random = np.random.default_rng(4)
    confidence = random.uniform(CLIP, 1 - CLIP, 3000)
    correct = random.uniform(size=3000) < tempered(np.column_stack((1 - confidence, confidence)), 2.0)[:, 1]
    two = np.column_stack((1 - confidence, confidence))
    fitted = fit_confidence_temperature(confidence, correct)
    assert fitted.temperature == pytest.approx(fit_temperature(two, correct.astype(np.int64)), rel=1e-4)
    assert fitted(confidence) == pytest.approx(tempered(two, fitted.temperature)[:, 1])


def test_a_few_certain_answers_that_are_wrong_do_not_flatten_all_others() -> None:
    """Issue 61 of netcal: a stated 1.00 without a clip weighs 28 nats, and one wrong answer rules the temperature."""
    random = np.random.default_rng(5)
    confidence = np.where(random.uniform(size=4000) < 0.02, 1.0, random.uniform(0.05, 0.95, 4000))
    correct = random.uniform(size=4000) < np.where(confidence == 1.0, 0.9, confidence)
    assert fit_confidence_temperature(confidence, correct).temperature == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("fitted", "sentence"),
    [
        (Temperature(19.999), "reached its bound 20: every value becomes nearly 0.5"),
        (Temperature(0.0500001), "reached its bound 0.05"),
        (Platt(0.0, 0.4), "the slope reached its bound 0"),
        (Beta(0.0, 0.0, 0.4), "the slope reached its bound 0"),
        (Beta(3.0, 20.0, 0.4), "a parameter reached its bound 20"),
        (Platt(1.0, -20.0), "a parameter reached its bound 20"),
    ],
)
def test_a_parameter_at_its_bound_has_a_sentence(fitted: Temperature | Platt | Beta, sentence: str) -> None:
    assert sentence in str(bound_reached(fitted))


@pytest.mark.parametrize("fitted", [Platt(0.0, 0.4), Beta(3.0, 20.0, 0.4)])
def test_of_a_map_fitted_to_votes_the_sentence_speaks_of_raters(fitted: Platt | Beta) -> None:
    sentence = str(bound_reached(fitted, "votes"))
    assert "the raters" in sentence
    assert "right" not in sentence


@pytest.mark.parametrize("fitted", [Temperature(1.3), Platt(0.7, 0.1), Beta(0.0, 1.0, 2.0), Isotonic((0.5,), (0.5,))])
def test_a_map_within_its_bounds_has_none(fitted: Temperature | Platt | Beta | Isotonic) -> None:
    assert bound_reached(fitted) is None
