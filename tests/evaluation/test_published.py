"""The published tables' own arithmetic, from the committed reference files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.discrimination import auroc
from emocaliber.evaluation.proper_scores import brier_score
from emocaliber.evaluation.suite import load_reference, load_suite
from emocaliber.evaluation.trusted import trust_all_f1, trusted_at

EVAL = Path(__file__).parents[2] / "eval"
SUITE = load_suite(EVAL / "suites" / "vecbench.yaml")
FIGURES = {
    (figure.kind, figure.name, figure.aggregation, figure.metric): figure.value
    for figure in load_reference(EVAL / "reference" / "emocaliber.yaml")
}


def _task_accuracy(task: str) -> float:
    return FIGURES["task", task, "pooled", "accuracy"]


def _right_and_rows(task: str) -> tuple[int, int]:
    rows = 997 if task == "WebEmo-25" else SUITE.tasks[task].rows or 0  # three rows are lost in the published log
    return round(_task_accuracy(task) * rows), rows


@pytest.mark.parametrize("group", ["ID VSA", "ID VER", "OOD VER"])
def test_group_accuracy_is_macro_in_the_paper_and_pooled_in_the_log(group: str):
    tasks = SUITE.groups[group]
    counted = [_right_and_rows(task) for task in tasks]
    pooled = sum(right for right, _ in counted) / sum(rows for _, rows in counted)
    macro = np.mean([_task_accuracy(task) for task in tasks])
    assert round(100 * pooled, 2) == pytest.approx(100 * FIGURES["group", group, "pooled", "accuracy"], abs=0.011)
    assert round(100 * macro, 2) == pytest.approx(100 * FIGURES["group", group, "macro", "accuracy"], abs=0.011)


def test_ood_is_50_37_macro_and_59_16_pooled():
    assert FIGURES["group", "OOD VER", "macro", "accuracy"] == 0.5037
    assert FIGURES["group", "OOD VER", "pooled", "accuracy"] == 0.5916


@pytest.mark.parametrize(
    ("group", "expected", "published"),
    [("ID VSA", 14.41, 14.68), ("ID VER", 21.99, 22.77), ("OOD VER", 19.87, 22.41)],
)
def test_a_constant_per_task_has_a_better_brier_than_the_published_one(group: str, expected: float, published: float):
    stated, right = _constants(group)
    ours = 100 * float(brier_score(count_rows(stated, right)))
    assert ours == pytest.approx(expected, abs=0.006)
    assert ours < published == pytest.approx(100 * FIGURES["group", group, "pooled", "brier"])


def test_on_ood_the_constant_matches_the_published_auroc():
    assert 100 * auroc(count_rows(*_constants("OOD VER"))) == pytest.approx(72.26, abs=0.01)


def test_ters_trusted_f1_is_that_of_trusting_everything():
    figures = {figure.metric: figure.value for figure in load_reference(EVAL / "reference" / "ter.yaml")[:2]}
    assert round(float(trust_all_f1(figures["accuracy"])), 4) == figures["trusted_f1"] == 0.9035
    everything = trusted_at(count_rows([0.5] * 1250, [1] * 1030 + [0] * 220), 0.0)
    assert everything.f1 == pytest.approx(0.9035, abs=5e-5)


def _constants(group: str) -> tuple[list[float], list[int]]:
    stated: list[float] = []
    correct: list[int] = []
    for task in SUITE.groups[group]:
        right, rows = _right_and_rows(task)
        stated += [right / rows] * rows
        correct += [1] * right + [0] * (rows - right)
    return stated, correct
