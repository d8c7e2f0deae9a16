"""F1 of the labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from emocaliber.evaluation.classification import f1_scores

RNG = np.random.default_rng(0)
TRUTH, PREDICTED = RNG.integers(0, 4, 300), RNG.integers(0, 5, 300)


def test_it_agrees_with_scikit_learn():
    ours = f1_scores(TRUTH, PREDICTED, np.ones(300), 6)
    assert ours.weighted == pytest.approx(f1_score(TRUTH, PREDICTED, average="weighted"), abs=1e-9)
    assert ours.macro == pytest.approx(f1_score(TRUTH, PREDICTED, average="macro"), abs=1e-9)


def test_no_label_costs_recall_and_no_other_labels_precision():
    ours = f1_scores([0, 0, 1], [0, -1, 1], [1, 1, 1], 2)
    assert ours.weighted == pytest.approx((2 * (2 / 3) + 1) / 3)


def test_counts_stand_for_repeated_rows():
    once = f1_scores([0, 1, 1], [0, 0, 1], [2, 1, 3], 2)
    repeated = f1_scores([0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], np.ones(6), 2)
    assert (once.weighted, once.macro) == (repeated.weighted, repeated.macro)
