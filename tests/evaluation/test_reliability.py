"""Reliability curve, consistency bands and histogram."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from emocaliber.evaluation.reliability import consistency_band, histogram, reliability_curve
from emocaliber.evaluation.tally import tally


def test_every_answered_row_is_in_one_bin_and_in_one_bar():
    rows = tally([0.0, 0.1, 0.5, 0.55, 1.0, 1.0], [0, 1, 0, 1, 1, 0], refused=3)
    assert sum(one.count for one in reliability_curve(rows)) == 6
    bars = histogram(rows)
    assert (sum(one.right for one in bars), sum(one.wrong for one in bars)) == (3, 3)
    assert (bars[-1].right, bars[-1].wrong) == (1, 1)


def test_a_bin_shows_its_mean_confidence_and_accuracy():
    (only,) = reliability_curve(tally([0.62, 0.68], [1, 0]))
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
    curve = reliability_curve(tally(confidence, rng.random(4000) < confidence), bins=20)
    assert sum(one.band_low <= one.accuracy <= one.band_high for one in curve) >= 17
