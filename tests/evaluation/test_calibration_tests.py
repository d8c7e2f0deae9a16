"""The tests of calibration hold their level with ties, few rows and clusters, and find what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from emocaliber.evaluation import calibration_test, score

LEVELS = np.array([0.5, 0.7, 0.8, 0.9, 0.95, 1.0])


def _drawn(seed: int, rows: int, per: int = 1, alike: float = 0.0, off: float = 0.0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(rows // per), per)
    confidence = np.repeat(rng.choice(LEVELS, rows // per), per)
    noise = np.sqrt(alike) * rng.standard_normal(rows // per)[cluster] + np.sqrt(1 - alike) * rng.standard_normal(rows)
    return confidence, norm.cdf(noise) < confidence - off, cluster


def _refused(trials: int, rows: int, per: int, alike: float, off: float = 0.0) -> np.ndarray:
    """How often each test has p at most .1."""
    found = np.zeros(2)
    for seed in range(trials):
        confidence, correct, cluster = _drawn(seed, rows, per, alike, off)
        test = calibration_test(confidence, correct, cluster if per > 1 else None, replicates=199, seed=seed)
        found += (test.ecce_p <= 0.1, (test.spiegelhalter_p or 1) <= 0.1)
    return found


@pytest.mark.parametrize(("rows", "per", "alike"), [(25, 1, 0.0), (120, 4, 0.6), (120, 4, 1.0)])
def test_a_calibrated_confidence_is_refused_as_often_as_promised(rows: int, per: int, alike: float):
    for count in _refused(400, rows, per, alike):
        assert binomtest(int(count), 400, 0.1, alternative="greater").pvalue > 0.001


def test_without_its_clusters_the_same_confidence_would_be_refused_too_often():
    alone = 0
    for seed in range(200):
        confidence, correct, _ = _drawn(seed, 120, 4, 1.0)
        alone += calibration_test(confidence, correct, replicates=199, seed=seed).ecce_p <= 0.1
    assert alone > 40


def test_overconfidence_is_found():
    assert (_refused(40, 300, 1, 0.0, off=0.12) > 36).all()
    assert _refused(40, 400, 4, 0.5, off=0.2)[0] > 30


def test_statistics_are_those_of_the_definitions():
    confidence, correct, _ = _drawn(3, 80, off=0.1)
    test = calibration_test(confidence, correct)
    ends = [0.0, *((correct - confidence)[confidence <= level].sum() for level in np.unique(confidence))]
    assert test.ecce == pytest.approx((max(ends) - min(ends)) / 80)
    weight = 1 - 2 * confidence
    variance = (weight**2 * confidence * (1 - confidence)).sum()
    assert test.spiegelhalter_z == pytest.approx(((correct - confidence) * weight).sum() / np.sqrt(variance))
    assert abs(test.spiegelhalter_p - 2 * norm.sf(abs(test.spiegelhalter_z))) < 0.05


def test_neither_order_nor_names_of_clusters_matter_and_a_million_alike_rows_are_one():
    confidence, correct, cluster = _drawn(5, 120, 4, 0.5)
    order = np.random.default_rng(0).permutation(120)
    names = np.array([f"picture {number}" for number in cluster])
    first = calibration_test(confidence, correct, cluster)
    again = calibration_test(confidence[order], correct[order], names[order])
    assert (first.ecce, first.spiegelhalter_p is None) == (pytest.approx(again.ecce), again.spiegelhalter_p is None)
    assert first.dependence == pytest.approx(again.dependence)
    many = calibration_test([0.5, 0.5], [1, 0], weight=np.array([500_000, 500_000]))
    assert (many.n, many.ecce_p) == (1_000_000, 1.0)
    assert many.spiegelhalter_z is None


def test_the_scorecard_has_the_test_of_usable_rows():
    confidence, correct, _ = _drawn(3, 80, off=0.3)
    answered = np.arange(80) > 5
    [model, *_] = score(confidence, correct, answered=answered, replicates=20).methods
    alone = calibration_test(confidence[answered], correct[answered])
    assert model.calibration_test is not None
    assert model.calibration_test == alone
    assert model.calibration_test.ecce_p < 0.01
