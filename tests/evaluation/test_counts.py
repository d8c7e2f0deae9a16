"""Rows become a table of distinct values, and bad rows an error that names them."""

from __future__ import annotations

import numpy as np
import pytest

from emocaliber.evaluation.counts import count_rows, harmonic_gap, ratio


def test_ties_become_one_line():
    rows = count_rows([0.9, 0.4, 0.9, 0.9], [1, 0, 0, 1])
    assert rows.values.tolist() == [0.4, 0.9]
    assert rows.rows.tolist() == [1, 3]
    assert rows.hits.tolist() == [0, 2]


def test_zero_has_no_sign():
    assert count_rows([0.0, -0.0], [0, 1]).rows.tolist() == [2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 85.0, 1.0000001, -0.01])
def test_a_confidence_outside_the_unit_interval_is_an_error_that_names_the_row(bad: float):
    with pytest.raises(ValueError, match=r"confidence of row 37 is"):
        count_rows([0.5] * 37 + [bad] + [0.5] * 62, [1] * 100)


def test_a_label_that_is_not_right_or_wrong_is_an_error_that_names_the_row():
    with pytest.raises(ValueError, match="correct of row 1"):
        count_rows([0.5, 0.5], [1, 2])


def test_no_rows_are_an_error_and_not_a_perfect_score():
    with pytest.raises(ValueError, match="no rows"):
        count_rows([], [])


def test_arrays_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="same rows"):
        count_rows([0.5, 0.5], [1])


def test_invalid_rows_count_in_n():
    rows = count_rows([0.5], [1], invalid=3, invalid_right=2)
    assert (rows.n, rows.answered, rows.answered_only().n) == (4, 1, 1)


def test_division_by_zero_is_undefined_and_not_zero():
    assert np.isnan(ratio(0.0, 0.0))


def test_harmonic_gap_is_the_sum_it_stands_for():
    for start, size in ((0, 1), (0, 5), (3, 0), (10, 1), (999_999, 1), (5, 7)):
        assert harmonic_gap(start, size) == pytest.approx(sum(1 / (start + j) for j in range(1, size + 1)), rel=1e-12)
