"""Resampling, intervals and p-values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from emocaliber.evaluation import score
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.cells import as_if_calibrated, cells, dense_codes
from emocaliber.evaluation.counts import BoolArray, FloatArray, IntArray
from emocaliber.evaluation.intervals import Kind, Replicated, interval, p_value, replicate
from emocaliber.evaluation.resampling import Population, population

RNG = np.random.default_rng(1)


def _mean_of(values: FloatArray, rows: Population, replicates: int = 4000) -> Replicated:
    def statistic(counts: FloatArray) -> dict[str, FloatArray]:
        return {"mean": counts @ values / counts.sum(-1)}

    return replicate(statistic, rows, replicates=replicates, seed=0)["mean"]


@pytest.mark.parametrize("cells", [3, 500])
def test_every_replicate_has_as_many_rows_as_the_sample(cells: int):
    codes = RNG.integers(0, cells, 500)
    drawn = np.concatenate(list(population(codes, cells).replicates(300, 0)))
    assert drawn.shape == (300, cells)
    assert (drawn.sum(1) == 500).all()
    assert drawn.mean(0) == pytest.approx(np.bincount(codes, minlength=cells), abs=6 * np.sqrt(500 / cells / 300) + 1)


def test_few_values_and_many_values_draw_from_the_same_distribution():
    values = np.repeat(np.linspace(0, 1, 10), 40)
    few = _mean_of(np.linspace(0, 1, 10), population(np.repeat(np.arange(10), 40), 10))
    many = _mean_of(values, population(np.arange(400), 400))
    assert few.replicates.std() == pytest.approx(many.replicates.std(), rel=0.05)
    assert few.value == pytest.approx(many.value)


def test_a_seed_gives_one_result_and_the_order_of_rows_does_not_matter():
    codes = RNG.integers(0, 5, 100)
    clusters = RNG.integers(0, 20, 100)
    order = RNG.permutation(100)
    for kwargs in ({}, {"clusters": clusters}):
        first = next(population(codes, 5, **kwargs).replicates(10, 3))
        shuffled = {name: value[order] for name, value in kwargs.items()}
        assert (first == next(population(codes[order], 5, **shuffled).replicates(10, 3))).all()


def test_clusters_are_drawn_whole():
    codes, clusters = np.array([0, 0, 1, 2]), np.array([7, 7, 7, 8])
    drawn = next(population(codes, 3, clusters=clusters).replicates(50, 0))
    assert (drawn[:, 0] == 2 * drawn[:, 1]).all()
    assert (drawn[:, 1] + drawn[:, 2] == 2).all()


def test_ten_copies_of_every_row_do_not_narrow_an_interval_by_cluster():
    rows = RNG.random(60)
    once = _mean_of(rows, population(np.arange(60), 60))
    codes, clusters = np.repeat(np.arange(60), 10), np.repeat(np.arange(60), 10)
    by_cluster = _mean_of(rows, population(codes, 60, clusters=clusters))
    by_row = _mean_of(rows, population(codes, 60))
    assert by_cluster.replicates.std() == pytest.approx(once.replicates.std(), rel=0.1)
    assert by_row.replicates.std() < 0.4 * once.replicates.std()


def test_strata_keep_their_size_unless_a_cluster_crosses_them():
    codes, strata = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1])
    drawn = next(population(codes, 2, strata=strata).replicates(50, 0))
    assert (drawn == [3, 2]).all()
    crossing = population(codes, 2, clusters=np.array([0, 1, 2, 2, 3]), strata=strata)
    assert len({tuple(row) for row in next(crossing.replicates(50, 0)).tolist()}) > 1


@pytest.mark.parametrize("kind", ["bca", "percentile"])
def test_intervals_agree_with_scipy(kind: Kind):
    values = RNG.exponential(size=80)
    ours = interval(_mean_of(values, population(np.arange(80), 80), 20_000), kind=kind)
    method = "BCa" if kind == "bca" else "percentile"
    theirs = scipy_bootstrap((values,), np.mean, method=method, n_resamples=20_000, rng=0).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_bca_by_groups_of_units_agrees_with_bca_by_single_units():
    values = np.sort(RNG.exponential(size=2000))
    by_groups = _mean_of(values, population(np.arange(2000), 2000))
    singles = (values.sum() - values) / 1999
    by_units = Replicated(by_groups.value, by_groups.replicates, singles, np.ones(2000))
    assert interval(by_groups) == pytest.approx(interval(by_units), abs=0.01)


def test_a_95_percent_interval_covers_the_truth_about_95_times_in_100():
    covered = 0
    for _ in range(300):
        right = RNG.random(150) < 0.7
        low, high = interval(_mean_of(np.array([0.0, 1.0]), population(right.astype(int), 2), 400))
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 300 <= 0.985


def _ece_of(confidence: FloatArray, right: BoolArray, clusters: IntArray | None) -> Replicated:
    grouped = cells(confidence, right, np.ones(right.size, bool))
    sample = grouped.correctness(grouped.sample())
    return replicate(
        lambda counts: {"ece": ece(grouped.correctness(counts))},
        population(grouped.codes, grouped.size, clusters=clusters),
        replicates=300,
        seed=0,
        null=lambda counts: {"ece": ece(as_if_calibrated(grouped.correctness(counts), sample))},
    )["ece"]


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("gap", [0.0, 0.03, 0.1])
def test_the_interval_of_a_calibration_error_covers_the_truth_of_a_calibrated_model_too(gap: float, copies: int):
    covered, rng = 0, np.random.default_rng(7)
    for _ in range(150):
        confidence = rng.choice([0.35, 0.55, 0.75, 0.95], 400)
        right = rng.random(400) < confidence - gap
        clusters = np.repeat(np.arange(400), copies) if copies > 1 else None
        error = _ece_of(np.repeat(confidence, copies), np.repeat(right, copies), clusters)
        low, high = interval(error)
        assert low <= error.value <= high
        covered += low <= gap + 1e-9 <= high + 2e-9
    assert covered / 150 >= 0.90


def test_every_calibration_error_lies_in_its_interval_and_rows_without_confidence_do_not_count_as_noise():
    confidence = np.repeat([0.35, 0.55, 0.75, 0.95], 100)
    correct = np.concatenate([np.arange(100) < 100 * value for value in (0.35, 0.55, 0.75, 0.95)])
    everything = score(confidence, correct)
    refused = score(confidence, correct, answered=np.arange(400) % 10 > 0)
    for name in ("ece", "ece_distinct", "mce", "ece_l2_debiased", "smooth_ece", "miscalibration"):
        value = everything[name]
        assert value.low == 0.0 <= value.value <= value.high, name
    assert refused["ece"].low >= 0.1 - 1e-9


def test_an_undefined_value_has_no_interval():
    figure = Replicated(np.nan, np.ones(10), np.ones(3), np.ones(3))
    assert np.isnan(interval(figure)).all()
    mostly = Replicated(0.5, np.array([0.5] * 4 + [np.nan] * 6), np.ones(3), np.ones(3))
    assert np.isnan(interval(mostly)).all()


def test_a_constant_statistic_has_an_interval_of_no_width():
    assert interval(Replicated(1.0, np.ones(100), np.ones(3), np.ones(3))) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("differences", "expected"), [([0.0] * 99, 1.0), ([1.0] * 99, 0.02), ([1.0] * 94 + [-1.0] * 5, 0.12)]
)
def test_p_values_are_two_sided_and_never_zero(differences: list[float], expected: float):
    assert p_value(np.array(differences)) == pytest.approx(expected)


def test_under_no_difference_p_values_are_about_uniform():
    codes: IntArray = np.arange(60)
    small = 0
    for _ in range(300):
        figure = _mean_of(RNG.normal(size=60), population(codes, 60), 300)
        small += p_value(figure.replicates) < 0.1
    assert 0.05 <= small / 300 <= 0.16


@pytest.mark.parametrize("size", [7, 10**9])
def test_dense_codes_give_back_every_row(size: int):
    codes = np.array([5, 2, 5, 6, 0])
    place, distinct = dense_codes(codes, size)
    assert distinct.tolist() == [0, 2, 5, 6]
    assert distinct[place].tolist() == codes.tolist()
