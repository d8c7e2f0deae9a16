"""Work saved is counted as a person would do it: look at the most doubtful rows, and count what is still wrong."""

from __future__ import annotations

import numpy as np
import pytest

from emocaliber.core.prediction_table import PredictionTable
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.work_saved import mistakes_left, work_curve
from tests.prediction_rows import predictions


def by_hand(confidence: list[float], correct: list[bool], invalid: int, looked: int) -> float:
    """Unreadable rows first, then rising confidence; what is left wrong."""
    order = [False] * invalid + [right for _, right in sorted(zip(confidence, correct, strict=True))]
    return sum(not right for right in order[looked:]) / len(order)


@pytest.mark.parametrize("invalid", [0, 4])
def test_it_is_what_is_left_wrong_after_so_many_looks(invalid: int):
    rng = np.random.default_rng(invalid)
    confidence, correct = rng.permutation(30) / 30, rng.random(30) < 0.6
    counts = count_rows(confidence, correct, invalid=invalid)
    n = 30 + invalid
    for looked in range(n + 1):
        expected = by_hand(confidence.tolist(), correct.tolist(), invalid, looked)
        assert mistakes_left(counts, [looked / n])[0] == pytest.approx(expected)


def test_ties_are_no_order():
    counts = count_rows(np.full(10, 0.7), np.arange(10) < 6)
    assert mistakes_left(counts, [0.0, 0.25, 0.5, 1.0]) == pytest.approx([0.4, 0.3, 0.2, 0.0])


def test_the_label_s_probability_is_a_curve_where_it_is_another_number():
    table = PredictionTable.from_predictions(predictions())
    rows = np.arange(len(table))
    curve = work_curve(table, rows)
    assert curve.left[0] == curve.at_random[0]
    assert curve.left[-1] == curve.at_random[-1] == pytest.approx(0)
    same = work_curve(
        PredictionTable(**{**vars(table), "probability": np.where(table.usable(), table.confidence, np.nan)}), rows
    )
    assert same.by_probability is None
    other = work_curve(PredictionTable(**{**vars(table), "probability": np.full(len(table), 0.5)}), rows)
    assert other.by_probability == pytest.approx(list(other.by_probability or []))
    usable = table.usable().mean()
    expected = (~table.label_right()[table.usable()]).mean() * usable
    place = int(np.searchsorted(np.array(other.looked_at), 1 - usable / 2))
    assert (other.by_probability or [])[place] == pytest.approx(expected / 2, abs=0.02)
