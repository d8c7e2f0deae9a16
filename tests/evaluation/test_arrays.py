"""The front door for plain arrays: the same values as from rows, and errors that name the array and the row."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest

from emocaliber import evaluation
from emocaliber.evaluation import ece, score
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.counts import count_rows
from tests.prediction_rows import LABELS, predictions

RNG = np.random.default_rng(0)
CONFIDENCE = RNG.integers(1, 21, 200) / 20
CORRECT = RNG.random(200) < CONFIDENCE - 0.05
METRICS = [
    "accuracy", "ece", "debiased_l2", "smooth_ece", "brier_score", "log_score", "brier_skill", "auroc",
    "average_precision", "aurc", "excess_aurc", "augrc", "prr", "coverage_at_risk", "risk_at_coverage",
    "best_f1_threshold", "risk_threshold",
]  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_takes_plain_arrays_and_counts_alike(name: str):
    metric = getattr(evaluation, name)
    of_arrays = metric(CONFIDENCE, CORRECT)
    assert type(of_arrays) is float
    assert of_arrays == float(metric(count_rows(CONFIDENCE, CORRECT)))
    assert metric(confidence=list(CONFIDENCE), correct=list(CORRECT)) == of_arrays
    assert list(inspect.signature(metric).parameters)[:2] == ["confidence", "correct"]


def test_a_metrics_options_stand_after_the_arrays():
    assert ece(CONFIDENCE, CORRECT, bins=15) == float(ece(count_rows(CONFIDENCE, CORRECT), bins=15))
    assert evaluation.coverage_at_risk(CONFIDENCE, CORRECT, 0.3) >= evaluation.coverage_at_risk(CONFIDENCE, CORRECT)
    with pytest.raises(TypeError, match="correct"):
        ece(CONFIDENCE)  # type: ignore[call-overload]


def test_every_name_of_the_front_door_opens_without_torch():
    code = (
        "import sys, emocaliber.evaluation as e\n"
        "assert 'scipy' not in sys.modules and 'numpy' not in sys.modules\n"
        "[getattr(e, name) for name in e.__all__]\n"
        "assert not {'torch', 'sklearn', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_scorecard_has_the_metrics_by_key_with_their_intervals():
    card = score(CONFIDENCE, CORRECT, replicates=100)
    assert card["ece"].value == pytest.approx(ece(CONFIDENCE, CORRECT))
    assert float(card["brier"]) == pytest.approx(evaluation.brier_score(CONFIDENCE, CORRECT))
    low, high = card["auroc"].low, card["auroc"].high
    assert low is not None
    assert high is not None
    assert low < float(card["auroc"]) < high
    assert f"brier              {card['brier']}" in str(card) == repr(card)
    assert "constant per task (model) (reference, oracle)" in str(card)
    with pytest.raises(KeyError, match=r"no 'agreement'.*accuracy"):
        card["agreement"]


def test_arrays_give_the_scorecard_of_the_same_rows():
    rows = predictions(n=80, votes=True, distribution=True, refuse=0.1, per_cluster=2)
    card = score(
        [np.nan if row.confidence is None else row.confidence for row in rows],
        truth=[row.truth for row in rows],
        predicted=[LABELS.index(row.predicted) if row.predicted else -1 for row in rows],
        labels=LABELS,
        votes=[[(row.votes or {})[label] for label in LABELS] for row in rows],
        distribution=[[(row.distribution or {})[label] for label in LABELS] for row in rows],
        probability=[np.nan if row.probability is None else row.probability for row in rows],
        answered=[row.confidence is not None for row in rows],
        tasks=[row.task for row in rows],
        groups=[row.group for row in rows],
        clusters=[row.cluster for row in rows],
    )
    expected = build_scorecard({"model": rows})
    assert card.settings == expected.settings
    for ours, theirs in zip(card.methods[0].scores, expected.methods[0].scores, strict=True):
        assert (ours.headline, ours.answered) == (theirs.headline, theirs.answered)


def test_the_order_of_the_labels_does_not_matter():
    votes, shares = RNG.integers(1, 5, (50, 3)), RNG.dirichlet(np.ones(3), 50)
    truth, predicted = votes.argmax(1), shares.argmax(1)
    options = {"truth": truth, "predicted": predicted, "replicates": 20}
    card = score(shares.max(1), labels=["b", "a", "c"], votes=votes, distribution=shares, **options)  # type: ignore[arg-type]
    named = np.array(["b", "a", "c"])
    other = score(
        shares.max(1), truth=named[truth], predicted=named[predicted], labels=["c", "b", "a"],
        votes=votes[:, [2, 0, 1]], distribution=shares[:, [2, 0, 1]], replicates=20,
    )  # fmt: skip
    values = {name: estimate.value for name, estimate in card.methods[0].find("all").headline.items()}
    assert values == pytest.approx({name: other[name].value for name in values})
    assert {"agreement_brier", "jensen_shannon", "classwise_ece", "weighted_f1"} <= values.keys()


def test_groups_and_tasks_are_subsets():
    card = score(CONFIDENCE, CORRECT, groups=["web"] * 120 + ["film"] * 80, tasks=["a", "b"] * 100, replicates=20)
    macro = card.method("model").find("group", "web", "macro")
    assert macro.n == 120
    assert macro["accuracy"].value == pytest.approx(np.mean([CORRECT[:120:2].mean(), CORRECT[1:120:2].mean()]))


def test_rows_that_were_not_answered_count_as_wrong():
    answered = np.arange(200) % 4 > 0
    card = score(np.where(answered, CONFIDENCE, np.nan), CORRECT, answered=answered, replicates=20)
    scores = card.method("model").find("all")
    assert (scores.n, scores.n_answered) == (200, 150)
    assert card["accuracy"].value == pytest.approx(CORRECT[answered].sum() / 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"confidence": [0.5, np.nan], "correct": [1, 0]}, "confidence of row 1 is nan.*answered"),
        ({"confidence": [0.5, 85.0], "correct": [1, 0]}, "confidence of row 1 is 85, 1 such rows in all.*per cent"),
        ({"confidence": [0.5, -0.1], "correct": [1, 0]}, "confidence of row 1 is -0.1.*from 0 to 1"),
        ({"confidence": [0.5, 850.0], "correct": [1, 0]}, "confidence of row 1 is 850.*from 0 to 1"),
        ({"confidence": [0.5], "correct": [1, 0]}, "correct has 2 rows, confidence 1"),
        ({"confidence": [0.5, 0.6], "correct": [1, 2]}, "correct of row 1 is"),
        ({"confidence": [], "correct": []}, "confidence must be one-dimensional and not empty"),
        ({"confidence": [[0.5]], "correct": [1]}, "one-dimensional"),
        ({"confidence": [0.5]}, "either correct, or both truth and predicted"),
        ({"confidence": [0.5], "correct": [1], "truth": ["a"], "predicted": ["a"]}, "either correct"),
        ({"confidence": [0.5], "truth": ["a"]}, "both truth and predicted"),
        ({"confidence": [0.5], "correct": [1], "votes": [[1, 2]]}, "votes and distribution need labels"),
        ({"confidence": [0.5], "truth": [0], "predicted": [3], "labels": ["a", "b"]}, "predicted of row 0 is"),
        ({"confidence": [0.5], "truth": [-1], "predicted": [1], "labels": ["a", "b"]}, "truth of row 0 is not a label"),
        (
            {"confidence": [0.5], "truth": [0], "predicted": [1], "labels": ["a", "b"], "votes": [[1, 2, 3]]},
            r"votes has shape \(1, 3\); it must be \(1, 2\)",
        ),
        (
            {"confidence": [0.5], "truth": [0], "predicted": [1], "labels": ["a", "b"], "votes": [[-1, 2]]},
            "votes of row 0",
        ),
        ({"confidence": [0.5], "correct": [1], "clusters": ["a", "b"]}, "clusters has 2 rows"),
        ({"confidence": [0.5], "correct": [1], "answered": [2]}, "answered of row 0"),
    ],
)
def test_what_cannot_be_judged_is_an_error_that_says_how_to_correct_it(arguments: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        score(**arguments)  # type: ignore[arg-type]


def test_a_second_panel_judges_the_answers_and_the_first_panel_as_a_human_row():
    labels = ["fear", "joy", "unknown"]
    first = [[1, 8, 1], [6, 3, 1], [9, 1, 0], [5, 4, 1]]
    second = [[0, 9, 1], [3, 6, 1], [5, 5, 0], [2, 2, 6]]  # joy, joy, a tie, unknown
    said = ["joy", "joy", "fear", "joy"]
    card = score(
        [0.9, 0.6, 0.5, 0.2], truth=["joy", "fear", "fear", "fear"], predicted=said, labels=labels, votes=first,
        second_votes=second, replicates=50,
    )  # fmt: skip
    assert card["second_panel_accuracy"].value == pytest.approx(2 / 3)
    assert card["second_panel_brier"].value == pytest.approx((0.1**2 + 0.4**2 + 0.2**2) / 3)
    assert card["second_panel_agreement"].value == pytest.approx((0.9 + 0.6 + 0.2) / 3)
    human = card.method("human: the first panel").find("all")
    assert (human.n, set(human.headline)) == (
        4,
        {key for key in card.methods[0].find("all").headline if "panel" in key},
    )
    assert human["second_panel_accuracy"].value == pytest.approx(1 / 3)
    assert human["second_panel_brier"].value == pytest.approx((0.2**2 + 0.6**2 + 0.5**2) / 3)
    assert human["second_panel_agreement"].value == pytest.approx((0.9 + 0.3 + 0.2) / 3)
    assert "model: scored against a second panel on the 3 rows where no tie leads its votes" in card.notes
    assert card.method("human: the first panel").role == "reference"


def test_without_a_second_panel_there_is_no_human_row():
    options = {"truth": ["a", "b"], "predicted": ["a", "a"], "labels": ["a", "b"], "votes": [[2, 1], [0, 3]]}
    card = score([0.9, 0.4], **options, replicates=50)  # type: ignore[arg-type]
    assert [method.name for method in card.methods] == ["model", "constant per task (model)"]
    with pytest.raises(ValueError, match="second_votes has shape"):
        score([0.9, 0.4], **options, second_votes=[[1], [2]])  # type: ignore[arg-type]
