"""Venn-Abers: each result is what two isotonic fits with the row itself added would say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from emocaliber.calibration.venn_abers import fit_venn_abers


def by_definition(confidence: np.ndarray, correct: np.ndarray, score: float) -> float:
    """Both fits made anew, over single rows, ties pooled."""
    answers = []
    for outcome in (0.0, 1.0):
        x, place = np.unique(np.append(confidence, score), return_inverse=True)
        rows = np.bincount(place).astype(float)
        right = np.bincount(place, weights=np.append(correct, outcome))
        answers.append(isotonic_regression(right / rows, weights=rows).x[np.searchsorted(x, score)])
    return float(answers[1] / (1 - answers[0] + answers[1]))


@pytest.mark.parametrize("levels", [5, 1000])
def test_every_score_on_between_and_beyond_those_of_the_fit_is_mapped_by_the_definition(levels: int):
    random = np.random.default_rng(levels)
    confidence = random.integers(0, levels, 60) / levels
    correct = random.random(60) < confidence
    scores = np.concatenate([confidence[:20], random.random(20), [-0.1, 1.1]])
    mapped = fit_venn_abers(confidence, correct)(scores)
    assert mapped == pytest.approx([by_definition(confidence, correct, score) for score in scores])


def test_higher_scores_are_never_mapped_lower_and_nothing_is_certain():
    random = np.random.default_rng(0)
    confidence = random.random(300)
    mapped = fit_venn_abers(confidence, random.random(300) < confidence**2)(np.linspace(0, 1, 500))
    assert (np.diff(mapped) >= 0).all()
    assert 0 < mapped.min() < mapped.max() < 1


def test_no_row_to_learn_from_is_an_error():
    with pytest.raises(ValueError, match="at least one labelled row"):
        fit_venn_abers(np.empty(0), np.empty(0, bool))
