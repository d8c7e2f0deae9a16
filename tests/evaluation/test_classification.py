"""F1 of the labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from emocaliber.evaluation.classification import f1_scores, label_family

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


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=2, max_size=16),
    st.data(),
)
def test_a_row_without_a_label_is_never_better_than_one_with_any_label(
    rows: list[tuple[int, int]], data: st.DataObject
):
    row = data.draw(st.integers(0, len(rows) - 1))
    label = data.draw(st.integers(0, 3))
    truth = np.array([true for true, _ in rows])
    stated = np.array([label if number == row else guess for number, (_, guess) in enumerate(rows)])
    withheld = np.where(np.arange(len(rows)) == row, -1, stated)
    with_label, without = (_headline(truth, guess) for guess in (stated, withheld))
    for name in ("headline.weighted_f1", "headline.macro_f1"):
        assert float(without[name][0]) <= float(with_label[name][0]) + 1e-9, name


def test_rows_without_a_label_count_against_the_precision_that_they_could_lower_most():
    least = _headline(np.array([0, 0, 0, 1]), np.array([0, 0, -1, 1]), known=2)["headline.macro_f1"][0]
    wrong = f1_score([0, 0, 0, 1], [0, 0, 1, 1], average="macro")
    assert least == pytest.approx(wrong)
    assert _headline(np.array([0, 1]), np.array([0, 1]), known=2)["headline.macro_f1"] == 1


def _headline(truth: NDArray[np.int64], predicted: NDArray[np.int64], known: int = 4) -> dict[str, NDArray[np.float64]]:
    family = label_family(np.arange(truth.size), truth, predicted, predicted >= 0, 4, known)
    return dict(family.statistic(family.sample()))
