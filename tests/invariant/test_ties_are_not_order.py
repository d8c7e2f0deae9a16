"""Promise: ties are not order. Every figure is the same for every order of the rows, 1.0 has a bin, and what is empty
is an error or undefined, never 0.0 = perfect."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation import augrc, aurc, auroc, brier_score, count_rows, ece, prr, smooth_ece
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from tests.prediction_rows import predictions

FAST = dataclasses.replace(DEFAULTS, replicates=2)
PERFECT = {"auroc": 1.0, "prr": 1.0}
"""Of every other metric here, 0."""
UNDEFINED = (ece, brier_score, auroc, aurc, augrc, prr, smooth_ece)


def figures(rows: list[Prediction]) -> dict[str, float | None]:
    """Every headline value of every subset of rows, intervals aside: these are drawn."""
    scores = build_scorecard({"m": rows}, settings=FAST).method("m").scores
    return {f"{s.kind} {s.name} {s.aggregation} {name}": e.value for s in scores for name, e in s.headline.items()}


def test_a_scorecard_does_not_depend_on_the_order_of_its_rows():
    rows = predictions(n=60, votes=True, distribution=True, refuse=0.1)
    rows += predictions(n=40, seed=1, task="faces", group="new", votes=True, distribution=True)
    expected = pytest.approx(figures(rows), abs=1e-12, nan_ok=True)
    for shuffled in (random.Random(0).sample(rows, len(rows)), sorted(rows, key=_right_first)):
        assert figures(shuffled) == expected


def _right_first(row: Prediction) -> bool:
    return row.predicted != row.truth


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 20])
@pytest.mark.parametrize("edges", ["left", "right"])
def test_both_ends_have_a_bin(bins: int, edges: str):
    for confidence, correct in ((1.0, 0), (0.0, 1)):
        assert float(ece([confidence] * 5, [correct] * 5, bins=bins, edges=edges)) == 1.0  # type: ignore[arg-type]
    assert float(ece([0.95, 1.0], [1, 0], bins=15)) == pytest.approx(0.475)


@pytest.mark.parametrize("metric", UNDEFINED, ids=lambda metric: metric.__name__)
def test_no_rows_are_an_error_and_no_answer_is_not_perfect(metric):  # noqa: ANN001
    with pytest.raises(ValueError, match="no rows"):
        metric([], [])
    silent = float(metric(count_rows([], [], invalid=5)))
    assert np.isnan(silent) or abs(silent - PERFECT.get(metric.__name__, 0.0)) > 0.4


def test_a_scorecard_of_no_rows_is_an_error():
    with pytest.raises(UserError):
        build_scorecard({"m": []})
