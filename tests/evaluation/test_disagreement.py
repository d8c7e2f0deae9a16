"""Calibration to human disagreement: the authors' definitions, by hand and by brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import entropy, spearmanr

from emocaliber.evaluation import distce, entce, entropy_rank_correlation, rankcs, score

RNG = np.random.default_rng(0)
HUMANS, MODEL = RNG.dirichlet(np.ones(4), 200), RNG.dirichlet(np.ones(4), 200)


def test_values_by_hand():
    humans, model = [[0.5, 0.5], [1.0, 0.0]], [[0.9, 0.1], [0.6, 0.4]]
    assert distce(humans, model) == pytest.approx([0.4, 0.4])
    surer = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1)) - np.log(2)
    assert entce(humans, model) == pytest.approx([surer, -(0.6 * np.log(0.6) + 0.4 * np.log(0.4))])
    assert entce(humans, model)[0] < 0 < entce(humans, model)[1]


def test_values_are_those_of_the_authors_formulas():
    assert distce(HUMANS, MODEL) == pytest.approx(np.sum(np.abs(MODEL - HUMANS), -1) / 2)
    assert entce(HUMANS, MODEL) == pytest.approx(entropy(MODEL, axis=1) - entropy(HUMANS, axis=1))
    same_order = (np.argsort(MODEL, -1) == np.argsort(HUMANS, -1)).all(-1)
    assert 0 < same_order.sum() < 200
    assert rankcs(HUMANS, MODEL).tolist() == same_order.astype(float).tolist()
    expected = spearmanr(entropy(MODEL, axis=1), entropy(HUMANS, axis=1)).statistic
    assert entropy_rank_correlation(HUMANS, MODEL) == pytest.approx(expected, abs=1e-9)


def test_labels_that_nobody_ordered_may_be_in_any_order_and_no_order_of_the_columns_matters():
    rng = np.random.default_rng(1)
    humans, model = rng.integers(0, 3, (60, 4)) + 0.0, rng.integers(0, 4, (60, 4)) + 0.0
    pairs = [(a, b) for a in range(4) for b in range(4)]
    by_pairs = [all(p[a] > p[b] for a, b in pairs if y[a] > y[b]) for y, p in zip(humans, model, strict=True)]
    assert 0 < sum(by_pairs) < 60
    for order in permutations(range(4)):
        assert rankcs(humans[:, order], model[:, order]).tolist() == [float(each) for each in by_pairs]


def _card(distribution: np.ndarray, answered: np.ndarray | None = None):  # noqa: ANN202
    votes = np.random.default_rng(2).multinomial(10, [0.5, 0.3, 0.2], size=80)
    labels = ["anger", "fear", "joy"]
    return score(
        distribution.max(1),
        truth=votes.argmax(1),
        predicted=distribution.argmax(1),
        labels=labels,
        votes=votes,
        distribution=distribution,
        answered=answered,
        clusters=np.arange(80) // 2,
        replicates=100,
    ), votes / 10


def test_the_scorecard_has_them_with_intervals_by_cluster():
    guess = np.random.default_rng(3).dirichlet([5, 3, 2], 80)
    card, humans = _card(guess)
    for name, rows in {"distce": distce, "entce": entce, "rankcs": rankcs}.items():
        assert card[name].value == pytest.approx(rows(humans, guess).mean())
        assert card[name].low < card[name].value < card[name].high
    assert card["entce_absolute"].value == pytest.approx(np.abs(entce(humans, guess)).mean())
    assert card["entropy_rank_correlation"].value == pytest.approx(entropy_rank_correlation(humans, guess))


def test_leaving_out_a_distribution_never_improves_what_judges():
    guess = np.random.default_rng(3).dirichlet([5, 3, 2], 80)
    answered = np.arange(80) != 7
    full, fewer = _card(guess)[0], _card(guess, answered)[0]
    assert fewer["distce"].value >= full["distce"].value
    assert fewer["entce_absolute"].value >= full["entce_absolute"].value
    assert fewer["rankcs"].value <= full["rankcs"].value
