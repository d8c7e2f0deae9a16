"""Annotators' distributions, agreement and strata of ambiguity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.metrics import r2_score

from emocaliber.evaluation import distributional
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.distributional import agreement, strata
from emocaliber.evaluation.proper_scores import brier_score

RNG = np.random.default_rng(0)
ANNOTATORS, PREDICTED = RNG.dirichlet(np.ones(4), 200), RNG.dirichlet(np.ones(4), 200)


def test_divergences_are_scipys():
    expected = jensenshannon(ANNOTATORS, PREDICTED, base=2, axis=1) ** 2
    assert distributional.jensen_shannon(ANNOTATORS, PREDICTED) == pytest.approx(expected, abs=1e-9)
    assert distributional.kl(ANNOTATORS, PREDICTED, clip=1e-12) == pytest.approx(entropy(ANNOTATORS, PREDICTED, axis=1))
    assert distributional.entropy(ANNOTATORS) == pytest.approx(entropy(ANNOTATORS, axis=1))


def test_hellinger_follows_from_bhattacharyya():
    coefficient = distributional.bhattacharyya(ANNOTATORS, PREDICTED)
    assert distributional.hellinger(ANNOTATORS, PREDICTED) == pytest.approx(np.sqrt(1 - coefficient))


def test_r2_is_scikit_learns_over_all_entries():
    residual = distributional.squared_residual(ANNOTATORS, PREDICTED).sum()
    ours = distributional.r2(residual, (ANNOTATORS**2).sum(), 200, 4)
    assert ours == pytest.approx(r2_score(ANNOTATORS.ravel(), PREDICTED.ravel()), abs=1e-9)


def test_identical_distributions_are_perfect_and_disjoint_ones_the_worst():
    same, other = np.array([[0.5, 0.5, 0.0]]), np.array([[0.0, 0.0, 1.0]])
    assert distributional.bhattacharyya(same, same) == pytest.approx(1.0)
    assert distributional.jensen_shannon(same, same) == pytest.approx(0.0)
    assert distributional.bhattacharyya(same, other) == 0.0
    assert distributional.hellinger(same, other) == pytest.approx(1.0)
    assert distributional.jensen_shannon(same, other) == pytest.approx(1.0)
    assert distributional.kl(same, other) == pytest.approx(-np.log(0.5) * -1 - np.log(0.001))


def test_no_prediction_is_worse_than_the_worst_residual():
    corners = [np.tile(np.eye(4)[k], (200, 1)) for k in range(4)]
    worst = np.max([distributional.squared_residual(ANNOTATORS, corner) for corner in corners], axis=0)
    assert distributional.worst_residual(ANNOTATORS) == pytest.approx(worst)


def test_votes_that_are_no_distribution_are_an_error_that_names_the_row():
    with pytest.raises(ValueError, match="votes of row 1"):
        distributional.distribution([[1, 2], [0, 0]], "votes")


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9))
def test_brier_over_annotators_is_its_mean_over_every_annotator(rows: list[tuple[float, int, int]]):
    rows = [(c, yes, no + (yes + no == 0)) for c, yes, no in rows]
    confidence = [row[0] for row in rows]
    share = agreement([[yes, no] for _, yes, no in rows], [0] * len(rows))
    each = [(yes * (c - 1) ** 2 + no * c**2) / (yes + no) for c, yes, no in rows]
    assert brier_score(count_rows(confidence, share)) == pytest.approx(np.mean(each))


def test_a_confidence_that_states_the_agreement_is_calibrated_against_it():
    share = agreement([[6, 4], [6, 4], [3, 7]], [0, 0, 1])
    assert ece(count_rows([0.6, 0.6, 0.7], share)) == pytest.approx(0.0)


def test_without_a_label_nobody_agrees():
    assert agreement([[6, 4]], [-1]).tolist() == [0.0]


def test_strata_are_exact_and_entropy_thirds_never_split_ties():
    votes = [[3, 0, 0], [2, 1, 0], [1, 1, 1], [0, 3, 0], [1, 2, 0], [1, 0, 2]]
    masks = strata(votes)
    assert np.flatnonzero(masks["unanimous"]).tolist() == [0, 3]
    assert np.flatnonzero(masks["majority"]).tolist() == [1, 4, 5]
    assert np.flatnonzero(masks["no majority"]).tolist() == [2]
    assert np.flatnonzero(masks["middle entropy"]).tolist() == [1, 4, 5]
    assert sum(masks[name].sum() for name in ("low entropy", "middle entropy", "high entropy")) == 6


def test_strata_do_not_depend_on_the_order_of_the_labels():
    masks, mirrored = strata([[3, 2, 0], [1, 1, 1]]), strata([[0, 2, 3], [1, 1, 1]])
    assert {name: mask.tolist() for name, mask in masks.items()} == {n: m.tolist() for n, m in mirrored.items()}
