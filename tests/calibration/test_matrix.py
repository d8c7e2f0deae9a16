"""Structured matrix scaling: what one label is over-stated by is mended; few rows leave it a temperature."""

from __future__ import annotations

import numpy as np
import pytest

from emocaliber.calibration.maps import tempered
from emocaliber.calibration.matrix import fit_matrix

LABELS = ("happy", "sad", "angry")


def skewed(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True distributions, those with "happy" stated three times too high, and labels."""
    random = np.random.default_rng(seed)
    true = random.dirichlet(np.ones(3), n)
    stated = true * [3.0, 1.0, 1.0]
    truth = np.array([random.choice(3, p=row) for row in true])
    return true, stated / stated.sum(axis=1, keepdims=True), truth


def test_a_label_that_is_overstated_comes_down_where_a_temperature_cannot_mend_it():
    _, stated, truth = skewed(3000, 0)
    fitted = fit_matrix(LABELS, stated, truth)
    true, new, _ = skewed(500, 1)
    tempered_error = np.abs(tempered(new, fitted.temperature) - true).mean()
    assert np.abs(fitted(new) - true).mean() < tempered_error / 3


def test_few_rows_leave_little_more_than_the_temperature():
    _, stated, truth = skewed(12, 0)
    fitted = fit_matrix(LABELS, stated, truth)
    assert np.abs(np.array(fitted.weights)[:, :3] - np.eye(3)).max() < 0.3


def test_one_row_is_mapped_by_the_names_of_its_labels_not_by_their_order():
    _, stated, truth = skewed(300, 0)
    fitted = fit_matrix(LABELS, stated, truth)
    shares = dict(zip(LABELS, stated[0].tolist(), strict=True))
    assert fitted.scaled(dict(reversed(shares.items()))) == pytest.approx(fitted.scaled(shares))
    assert sum(fitted.scaled(shares).values()) == pytest.approx(1)
