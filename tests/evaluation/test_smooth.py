"""Smooth ECE against its definition and its authors' code."""

from __future__ import annotations

import numpy as np
import pytest
from relplot.metrics import smECE, smECE_sigma

from emocaliber.evaluation.counts import Counts, count_rows
from emocaliber.evaluation.smooth import smooth_ece, smooth_ece_at
from tests.evaluation.rows import tie_free


def test_at_a_fixed_width_it_is_the_integral_of_the_definition():
    confidence, right = np.array([0.1, 0.35, 0.35, 0.9, 1.0]), np.array([1, 0, 1, 1, 0])
    t = np.linspace(0, 1, 4001)
    mirrored = [t[:, None] - (shift + sign * confidence) for shift in (-2, 0, 2) for sign in (-1, 1)]
    kernel = sum(np.exp(-((gap / 0.1) ** 2) / 2) for gap in mirrored) / (0.1 * np.sqrt(2 * np.pi))
    expected = np.trapezoid(np.abs((kernel * (confidence - right)).mean(1)), t)
    assert smooth_ece_at(count_rows(confidence, right), 0.1) == pytest.approx(expected, abs=1e-4)


def test_the_width_is_the_error_itself():
    rows = count_rows(*tie_free(500))
    error = float(smooth_ece(rows))
    assert smooth_ece_at(rows, error) == pytest.approx(error, abs=2e-5)


def test_always_sure_and_always_wrong_is_the_worst_score():
    assert smooth_ece(count_rows([1.0] * 9, [0] * 9)) == pytest.approx(1.0, abs=1e-4)


def test_it_agrees_with_relplot_to_its_grid():
    confidence, right = tie_free(3000)
    rows = count_rows(confidence, right)
    assert smooth_ece_at(rows, 0.1) == pytest.approx(smECE_sigma(confidence, right, sigma=0.1), rel=0.01)
    assert smooth_ece(rows) == pytest.approx(smECE(confidence, right), abs=2e-3)


def test_a_small_move_of_a_confidence_moves_it_little():
    near = smooth_ece(count_rows([0.5] * 20, [0, 1] * 10)), smooth_ece(count_rows([0.5001] * 20, [0, 1] * 10))
    assert near[0] == pytest.approx(float(near[1]), abs=1e-3)


def test_a_few_sets_are_solved_alike_one_by_one_and_together():
    rows = [count_rows([0.2, 0.6, 0.9], right) for right in ([1, 0, 1], [0, 0, 0], [1, 1, 1])]
    batch = type(rows[0])(
        rows[0].values,
        np.array([each.rows for each in rows]),
        np.array([each.hits for each in rows]),
        np.zeros(3),
        np.zeros(3),
    )
    assert smooth_ece(batch) == pytest.approx([float(smooth_ece(each)) for each in rows], abs=2e-5)


@pytest.mark.parametrize(
    ("levels", "n", "power", "unread"), [(10, 300, 1.4, 40), (20, 300, 1.0, 0), (700, 4000, 1.4, 9)]
)
def test_replicates_are_interpolated_to_a_small_part_of_their_spread(levels: int, n: int, power: float, unread: int):
    rng = np.random.default_rng(0)
    values = np.arange(levels + 1) / levels
    sizes = rng.multinomial(n, rng.dirichlet(np.ones(values.size)))
    hits = rng.binomial(sizes, values**power)
    cells = np.concatenate((hits, sizes - hits, [unread])).astype(float)
    drawn = rng.multinomial(n + unread, cells / cells.sum(), size=300).astype(float)
    right, wrong, invalid = drawn[:, : values.size], drawn[:, values.size : -1], drawn[:, -1]
    together = smooth_ece(Counts(values, right + wrong, right, invalid, invalid * 0))
    alone = [
        float(smooth_ece(Counts(values, a + b, a, np.float64(c), np.zeros(()))))
        for a, b, c in zip(right, wrong, invalid, strict=True)
    ]
    spread = np.std(alone)
    assert np.sqrt(np.mean((together - alone) ** 2)) < 0.05 * spread
    assert np.quantile(together, [0.025, 0.975]) == pytest.approx(np.quantile(alone, [0.025, 0.975]), abs=0.06 * spread)
