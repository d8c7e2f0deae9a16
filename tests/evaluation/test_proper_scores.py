"""Proper scores and their decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression
from sklearn.metrics import brier_score_loss, log_loss

from emocaliber.evaluation.classification import accuracy, label_accuracy
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.proper_scores import brier_score, brier_skill, corp, log_score
from tests.evaluation.rows import ROWS, of, tie_free


def test_it_agrees_with_scikit_learn():
    confidence, right = tie_free(2000)
    rows = count_rows(confidence, right)
    assert brier_score(rows) == pytest.approx(brier_score_loss(right, confidence), abs=1e-9)
    assert log_score(rows, clip=1e-9) == pytest.approx(log_loss(right, confidence), abs=1e-9)


def test_the_log_score_is_bounded_by_its_clip():
    assert log_score(count_rows([1.0, 0.0], [0, 1]), clip=0.01) == pytest.approx(-np.log(0.01))


@given(ROWS, st.integers(0, 4))
def test_the_decomposition_sums_to_the_brier_score(rows: list[tuple[float, bool]], invalid: int):
    table = of(rows, invalid)
    parts = corp(table)
    total = parts.miscalibration - parts.discrimination + parts.uncertainty
    assert total == pytest.approx(float(brier_score(table)))
    assert min(parts.miscalibration, parts.discrimination, parts.uncertainty) >= -1e-12


def test_recalibration_is_scikit_learns_isotonic_regression():
    confidence, right = tie_free(500)
    fitted = isotonic_regression(right[np.argsort(confidence)].astype(float))
    expected = np.mean((fitted - right[np.argsort(confidence)]) ** 2)
    parts = corp(count_rows(confidence, right))
    assert parts.uncertainty - parts.discrimination == pytest.approx(expected, abs=1e-9)


def test_a_calibrated_confidence_has_no_miscalibration_and_a_constant_no_discrimination():
    calibrated = corp(count_rows([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0]))
    assert calibrated.miscalibration == pytest.approx(0.0)
    assert corp(count_rows([0.9] * 4, [1, 0, 1, 0])).discrimination == pytest.approx(0.0)


def test_the_constant_has_no_skill():
    assert brier_skill(count_rows([0.75] * 4, [1, 1, 1, 0])) == pytest.approx(0.0)


def test_skill_is_undefined_where_every_label_is_right():
    assert np.isnan(brier_skill(count_rows([0.9, 0.8], [1, 1])))


def test_label_accuracy_counts_a_right_label_without_a_confidence_and_accuracy_does_not():
    rows = count_rows([0.9, 0.9], [1, 0], invalid=2, invalid_right=2)
    assert (accuracy(rows), label_accuracy(rows)) == (0.25, 0.75)
