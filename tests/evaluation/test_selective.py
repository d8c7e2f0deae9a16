"""Risk and coverage, ties by enumeration of orders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_uncertainty.metrics.classification import AUGRC, AURC

from emocaliber.evaluation import selective
from emocaliber.evaluation.counts import count_rows
from tests.evaluation.rows import GRID, of, over_orders, tie_free

FEW = st.lists(st.tuples(GRID, st.booleans()), min_size=1, max_size=6)


def _risks(ranking: list[bool]) -> np.ndarray:
    return np.cumsum(1.0 - np.array(ranking)) / np.arange(1, len(ranking) + 1)


def _aurc(ranking: list[bool]) -> float:
    return float(_risks(ranking).mean())


def _augrc(ranking: list[bool]) -> float:
    return float(np.cumsum(1.0 - np.array(ranking)).mean() / len(ranking))


@given(FEW)
@settings(max_examples=40)
def test_ties_count_as_the_mean_over_all_orders(rows: list[tuple[float, bool]]):
    best = _aurc(sorted((row[1] for row in rows), reverse=True))
    assert selective.aurc(of(rows)) == pytest.approx(over_orders(rows, _aurc))
    assert selective.augrc(of(rows)) == pytest.approx(over_orders(rows, _augrc))
    assert selective.excess_aurc(of(rows)) == pytest.approx(over_orders(rows, _aurc) - best)
    for coverage in (0.2, 0.5, 0.8, 1.0):
        accepted = int(np.ceil(coverage * len(rows) - 1e-9))
        expected = over_orders(rows, lambda ranking, k=accepted: float(_risks(ranking)[k - 1]))
        assert selective.risk_at_coverage(of(rows), coverage) == pytest.approx(expected)


def test_without_ties_it_agrees_with_torch_uncertainty_up_to_its_trapezoid():
    confidence, right = tie_free(1500)
    confidence = 0.5 + confidence / 2  # torch-uncertainty takes the larger of a probability and its complement
    n, risks = right.size, _risks(right[np.argsort(-confidence)].astype(bool).tolist())
    for peer, ours, ends in (
        (AURC(), selective.aurc, risks[0] + risks[-1]),
        (AUGRC(), selective.augrc, risks[0] / n + risks[-1]),
    ):
        peer.update(torch.from_numpy(confidence), torch.from_numpy(right))
        trapezoid = float(peer.compute()) * (1 - 1 / n)
        assert ours(count_rows(confidence, right)) == pytest.approx(trapezoid + ends / (2 * n), abs=1e-9)


def test_fifty_shuffles_of_tied_confidences_give_one_value():
    rng = np.random.default_rng(0)
    confidence = np.round(rng.random(1000) * 20) / 20
    right = (rng.random(1000) < confidence).astype(int)
    orders = [rng.permutation(1000) for _ in range(50)]
    for metric in (selective.aurc, selective.augrc, selective.prr, selective.excess_aurc, selective.coverage_at_risk):
        values = [float(metric(count_rows(confidence[order], right[order]))) for order in orders]
        assert max(values) == min(values)


def test_prr_is_one_for_the_best_ranking_zero_for_a_constant_and_undefined_without_errors():
    assert selective.prr(count_rows([0.9, 0.8, 0.1], [1, 1, 0])) == pytest.approx(1.0)
    assert selective.prr(count_rows([0.5] * 3, [1, 1, 0])) == pytest.approx(0.0)
    assert np.isnan(selective.prr(count_rows([0.9, 0.8], [1, 1])))


def test_coverage_at_risk_accepts_whole_blocks_only():
    rows = count_rows([0.9] * 4 + [0.5] * 4, [1, 1, 1, 1, 1, 1, 0, 0])
    assert selective.coverage_at_risk(rows, 0.1) == 0.5
    assert selective.coverage_at_risk(rows, 0.25) == 1.0
    assert selective.coverage_at_risk(count_rows([0.9], [0]), 0.5) == 0.0


def test_the_curve_ends_at_the_error_rate_and_starts_with_the_invalid_rows():
    curve = selective.risk_coverage(count_rows([0.9, 0.5], [1, 0], invalid=2))
    assert curve.coverage == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk == pytest.approx([1.0, 1.0, 2 / 3, 0.75])
