"""Calibration error on the edges, ties and empty inputs that other evaluators get wrong; the reliability curve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from netcal.metrics import ACE, ECE, MCE
from scipy.stats import binom
from torchmetrics.functional.classification import binary_calibration_error

from emocaliber.evaluation.calibration import (
    Edges,
    classwise_ece,
    consistency_band,
    debiased_l2,
    ece,
    equal_width_starts,
    histogram,
    reliability_curve,
)
from emocaliber.evaluation.counts import count_rows
from tests.evaluation.rows import ROWS, of, tie_free


def test_always_sure_and_always_wrong_is_the_worst_score():
    assert ece(count_rows([1.0] * 50, [0] * 50)) == 1.0


@pytest.mark.parametrize("edges", ["left", "right"])
def test_both_ends_of_the_interval_have_a_bin(edges: Edges):
    assert ece(count_rows([0.0, 1.0], [1, 0]), edges=edges) == 1.0


def test_a_confidence_of_one_shares_the_last_bin():
    assert ece(count_rows([0.95, 1.0], [1, 0]), bins=15) == pytest.approx(0.475)


def test_the_side_of_a_bin_edge_is_the_declared_one():
    values = np.array([0.1, 0.2, 0.3, 0.7])
    assert equal_width_starts(values, 10, "left").tolist()[:5] == [0, 0, 1, 2, 3]
    assert equal_width_starts(values, 10, "right").tolist()[:5] == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("bins", [10, 20, 100])
def test_every_round_number_lies_on_the_edge_that_it_names(bins: int):
    values = np.arange(1, bins) / bins
    starts = equal_width_starts(values, bins, "left")
    assert np.diff(starts).tolist() == [0] + [1] * (bins - 1)


@given(ROWS)
def test_each_side_equals_the_definition(rows: list[tuple[float, bool]]):
    confidence, right = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], float)
    for edges, inside in (
        ("left", lambda low, high: (confidence >= low) & ((confidence < high) | (high == 1.0))),
        ("right", lambda low, high: ((confidence > low) | (low == 0.0)) & (confidence <= high)),
    ):
        bins = [inside(number / 20, (number + 1) / 20) for number in range(20)]
        expected = sum(abs((confidence - right)[inside_bin].sum()) for inside_bin in bins) / len(rows)
        assert ece(of(rows), bins=20, edges=edges) == pytest.approx(expected)  # type: ignore[arg-type]


def test_equal_mass_bins_never_split_ties():
    confidence, right = np.repeat([0.3, 0.7], 50), np.tile([1, 0], 50)
    assert ece(count_rows(confidence, right), bins=10, binning="equal mass") == pytest.approx(0.2)
    assert ece(count_rows(confidence[::-1], right[::-1]), bins=10, binning="equal mass") == pytest.approx(0.2)


def test_equal_mass_bins_are_equal_where_nothing_is_tied():
    confidence, right = tie_free(1000)
    order = np.argsort(confidence)
    gaps = (confidence - right)[order].reshape(10, 100).sum(1)
    assert ece(count_rows(confidence, right), binning="equal mass") == pytest.approx(np.abs(gaps).sum() / 1000)


def test_by_value_a_constant_at_its_accuracy_is_calibrated():
    assert ece(count_rows([0.75] * 4, [1, 1, 1, 0]), binning="distinct") == 0.0


def test_without_ties_and_edges_it_agrees_with_netcal_and_torchmetrics():
    confidence, right = tie_free(2000)
    rows = count_rows(confidence, right)
    assert ece(rows, bins=15) == pytest.approx(ECE(15).measure(confidence, right), abs=1e-9)
    assert ece(rows, bins=15, norm="max") == pytest.approx(MCE(15).measure(confidence, right), abs=1e-9)
    for norm in ("l1", "l2", "max"):
        peer = binary_calibration_error(
            torch.from_numpy(confidence), torch.from_numpy(right), n_bins=15, norm=norm, validate_args=False
        )
        assert ece(rows, bins=15, norm=norm) == pytest.approx(float(peer), abs=1e-9)


def test_average_over_bins_differs_from_netcals_ace_only_in_its_weights():
    confidence, right = tie_free(2000)
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs((confidence - right)[bins == number].mean()) for number in np.unique(bins)]
    assert ACE(15).measure(confidence, right) == pytest.approx(np.mean(gaps), abs=1e-9)


def test_debiased_l2_is_unbiased_where_the_plain_one_is_not():
    rng = np.random.default_rng(0)
    confidence = np.round(rng.random((400, 200)), 1)
    right = rng.random((400, 200)) < confidence
    plain = np.mean([float(ece(count_rows(c, y), norm="l2")) ** 2 for c, y in zip(confidence, right, strict=True)])
    fair = np.mean([float(debiased_l2(count_rows(c, y))) ** 2 for c, y in zip(confidence, right, strict=True)])
    assert plain > 0.006
    assert fair < 0.003  # above 0 only because a negative estimate counts as 0


def test_debiased_l2_of_single_rows_is_not_perfect():
    assert debiased_l2(count_rows([0.9, 0.1], [0, 1])) > 0.85


def test_classwise_ece_of_the_truth_is_zero_and_of_its_opposite_one():
    assert classwise_ece([[1.0, 0.0], [0.0, 1.0]], [0, 1]) == 0.0
    assert classwise_ece([[0.0, 1.0], [1.0, 0.0]], [0, 1]) == 1.0


def test_an_empty_replicate_is_undefined_and_not_perfect():
    rows = count_rows([0.5], [1])
    nothing = type(rows)(rows.values, rows.rows * 0, rows.hits * 0, rows.invalid, rows.invalid_right)
    assert np.isnan(ece(nothing))
    assert np.isnan(ece(nothing, norm="max"))


def test_every_answered_row_is_in_one_bin_and_in_one_bar():
    rows = count_rows([0.0, 0.1, 0.5, 0.55, 1.0, 1.0], [0, 1, 0, 1, 1, 0], invalid=3)
    assert sum(point.count for point in reliability_curve(rows)) == 6
    bars = histogram(rows)
    assert (sum(point.right for point in bars), sum(point.wrong for point in bars)) == (3, 3)
    assert (bars[-1].right, bars[-1].wrong) == (1, 1)


def test_a_bin_shows_its_mean_confidence_and_accuracy():
    (only,) = reliability_curve(count_rows([0.62, 0.68], [1, 0]))
    assert (only.low, only.high) == (0.6, 0.7)
    assert (only.mean_confidence, only.accuracy) == (pytest.approx(0.65), 0.5)


@pytest.mark.parametrize(("count", "probability"), [(1, 0.5), (7, 0.3), (40, 0.95), (5000, 0.8)])
def test_the_band_is_the_binomials_central_range(count: int, probability: float):
    expected = binom.ppf([0.025, 0.975], count, probability) / count
    assert consistency_band(count, probability) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_certainty_leaves_the_band_no_width(probability: float):
    assert consistency_band(9, probability) == (probability, probability)


def test_a_calibrated_model_is_mostly_inside_its_band():
    rng = np.random.default_rng(0)
    confidence = rng.integers(1, 20, 4000) / 20
    curve = reliability_curve(count_rows(confidence, rng.random(4000) < confidence), bins=20)
    assert sum(point.band_low <= point.accuracy <= point.band_high for point in curve) >= 17
