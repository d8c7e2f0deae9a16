"""AUROC and average precision, ties by enumeration of orders; rank correlation with the token probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.discrimination import auroc, average_precision, rank_correlation
from tests.evaluation.rows import GRID, of, over_orders, tie_free

FEW = st.lists(st.tuples(GRID, st.booleans()), min_size=2, max_size=6)


def _auroc(ranking: list[bool]) -> float:
    pairs = [first and not later for place, first in enumerate(ranking) for later in ranking[place + 1 :]]
    return sum(pairs) / (sum(ranking) * (len(ranking) - sum(ranking)))


def _average_precision(ranking: list[bool]) -> float:
    return float(np.mean([sum(ranking[: place + 1]) / (place + 1) for place, hit in enumerate(ranking) if hit]))


def test_without_ties_it_agrees_with_scikit_learn():
    confidence, right = tie_free(3000)
    rows = count_rows(confidence, right)
    assert auroc(rows) == pytest.approx(roc_auc_score(right, confidence), abs=1e-9)
    assert average_precision(rows) == pytest.approx(average_precision_score(right, confidence), abs=1e-9)


def test_with_ties_auroc_is_scikit_learns():
    confidence, right = tie_free(3000)
    assert auroc(count_rows(confidence.round(1), right)) == pytest.approx(
        roc_auc_score(right, confidence.round(1)), abs=1e-9
    )


@given(FEW.filter(lambda rows: 0 < sum(row[1] for row in rows) < len(rows)))
@settings(max_examples=40)
def test_ties_count_as_the_mean_over_all_orders(rows: list[tuple[float, bool]]):
    assert auroc(of(rows)) == pytest.approx(over_orders(rows, _auroc))
    assert average_precision(of(rows)) == pytest.approx(over_orders(rows, _average_precision))


def test_a_constant_ranks_like_chance():
    assert auroc(count_rows([0.8] * 10, [1] * 7 + [0] * 3)) == 0.5


@pytest.mark.parametrize("right", [0, 1])
def test_auroc_of_one_class_is_undefined_and_not_zero(right: int):
    assert np.isnan(auroc(count_rows([0.2, 0.7], [right, right])))


def test_a_invalid_right_answer_of_low_confidence_does_not_raise_auroc():
    confidence, right = [0.1] + [0.5] * 1000 + [0.9] * 100, [1] + [0] * 1000 + [1] * 100
    stated, invalid = count_rows(confidence, right), count_rows(confidence[1:], right[1:], invalid=1)
    assert auroc(invalid) < auroc(stated)


def test_rank_correlation_is_scipys_with_ties():
    rng = np.random.default_rng(0)
    confidence = np.round(rng.random(300), 1)
    probability = np.round(np.clip(confidence + rng.normal(0, 0.2, 300), 0, 1), 2)
    expected = spearmanr(confidence, probability).statistic
    assert rank_correlation(confidence, probability) == pytest.approx(expected, abs=1e-9)


def test_rank_correlation_with_a_constant_is_undefined():
    assert np.isnan(rank_correlation([0.5, 0.5], [0.1, 0.9]))
