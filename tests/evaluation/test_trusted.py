"""Trusted metrics, their thresholds and the F1 of trusting everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from emocaliber.evaluation import trusted
from emocaliber.evaluation.counts import count_rows
from tests.evaluation.rows import GRID, ROWS, of


@given(ROWS, GRID)
def test_it_is_the_table_of_right_and_trusted(rows: list[tuple[float, bool]], threshold: float):
    at = trusted.trusted_at(of(rows), threshold)
    both = sum(c >= threshold and y for c, y in rows)
    accepted, right = sum(c >= threshold for c, _ in rows), sum(y for _, y in rows)
    assert at.coverage == pytest.approx(accepted / len(rows))
    assert at.precision == pytest.approx(both / accepted if accepted else np.nan, nan_ok=True)
    assert at.recall == pytest.approx(both / right if right else np.nan, nan_ok=True)
    assert at.accuracy == pytest.approx(sum((c >= threshold) == y for c, y in rows) / len(rows))


@given(ROWS.filter(lambda rows: any(row[1] for row in rows)))
def test_trusting_everything_has_the_f1_of_its_accuracy(rows: list[tuple[float, bool]]):
    share = sum(row[1] for row in rows) / len(rows)
    assert trusted.trusted_at(of(rows), 0.0).f1 == pytest.approx(float(trusted.trust_all_f1(share)))


@given(ROWS)
def test_no_threshold_has_a_better_f1_than_the_best(rows: list[tuple[float, bool]]):
    table = of(rows)
    best = trusted.trusted_at(table, trusted.best_f1_threshold(table)).f1
    assert all(trusted.trusted_at(table, value).f1 <= best + 1e-12 for value in table.values)


def test_the_crossing_is_where_precision_meets_recall():
    rows = count_rows([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])
    at = trusted.trusted_at(rows, trusted.crossing_threshold(rows))
    assert at.precision == at.recall


@pytest.mark.parametrize(("errors", "n"), [(0, 30), (3, 50), (50, 50), (120, 1000)])
def test_the_bounds_are_those_of_the_textbook(errors: int, n: int):
    exact = trusted.upper_bound(errors, n, 0.95, "Clopper-Pearson")
    assert exact == pytest.approx(beta.ppf(0.95, errors + 1, n - errors) if errors < n else 1.0)
    wilson = binomtest(errors, n).proportion_ci(0.9, "wilson").high
    assert trusted.upper_bound(errors, n, 0.95, "Wilson") == pytest.approx(wilson)


def test_a_risk_threshold_keeps_its_promise_on_new_rows():
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(300):
        confidence = rng.integers(10, 21, size=400) / 20
        chosen = trusted.risk_threshold(count_rows(confidence, rng.random(400) < confidence), risk=0.15, level=0.9)
        levels = np.arange(10, 21) / 20
        if np.isfinite(chosen):
            broken += 1 - levels[levels >= chosen].mean() > 0.15
    assert broken / 300 <= 0.12


def test_a_risk_that_no_threshold_can_promise_trusts_nothing():
    rows = count_rows([0.9] * 100, [0] * 100)
    threshold = trusted.risk_threshold(rows)
    assert threshold == np.inf
    assert trusted.trusted_at(rows, threshold).coverage == 0.0


def test_fewer_rows_than_the_minimum_are_never_enough():
    assert trusted.risk_threshold(count_rows([0.9] * 29, [1] * 29), risk=0.2) == np.inf
    assert trusted.risk_threshold(count_rows([0.9] * 30, [1] * 30), risk=0.2) == 0.9


@given(st.integers(1, 5), ROWS)
def test_invalid_rows_are_never_trusted_and_never_help(invalid: int, rows: list[tuple[float, bool]]):
    without, with_them = (trusted.trusted_at(of(rows, number), 0.5) for number in (0, invalid))
    assert with_them.f1 <= without.f1
    assert with_them.coverage <= without.coverage
