"""The scorecard: subsets, reference methods, comparisons, invalid rows, JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from emocaliber.core.errors import UserError
from emocaliber.core.prediction_table import PredictionTable
from emocaliber.core.predictions import Prediction, State
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Cost, Scorecard
from emocaliber.evaluation.suite import Suite, Task
from tests.prediction_rows import LABELS, predictions

QUICK = replace(DEFAULTS, replicates=200)
SUITE = Suite(
    "test",
    {"emoji": Task(LABELS, 60), "faces": Task(LABELS, 40)},
    {"known": ("emoji", "faces"), "new": ("emoji",)},
)


def _two_tasks(method: str = "model", seed: int = 0, **options: float) -> list[Prediction]:
    emoji = predictions(method, 60, seed, **options)  # type: ignore[arg-type]
    return (
        emoji[:40]
        + [structs.replace(row, group="new") for row in emoji[40:]]
        + predictions(method, 40, seed, task="faces")
    )


def _card(rows: dict[str, list[Prediction]], **options: object) -> Scorecard:
    return build_scorecard(rows, settings=QUICK, **options)  # type: ignore[arg-type]


def test_every_subset_is_there_and_labelled():
    card = _card({"model": _two_tasks()}, suite=SUITE)
    subsets = [(item.kind, item.name, item.aggregation) for item in card.method("model").scores]
    assert subsets == [
        ("all", "all", "pooled"),
        ("all", "all", "macro"),
        ("group", "known", "pooled"),
        ("group", "known", "macro"),
        ("group", "new", "pooled"),
        ("task", "emoji", "pooled"),
        ("task", "faces", "pooled"),
    ]


def test_macro_is_the_mean_over_tasks_and_pooled_is_not():
    method = _card({"model": _two_tasks()}, suite=SUITE).method("model")
    tasks = [method.find("task", name) for name in ("emoji", "faces")]
    macro, pooled = method.find("all", aggregation="macro"), method.find("all")
    for name in ("accuracy", "ece", "brier", "auroc", "weighted_f1"):
        assert macro.headline[name].value == pytest.approx(np.mean([item.headline[name].value for item in tasks]))
    weighted = sum((item.headline["brier"].value or 0) * item.n for item in tasks) / 100
    assert pooled.headline["brier"].value == pytest.approx(weighted)


def test_every_key_is_a_named_metric_and_every_interval_holds_together():
    rows = predictions(votes=True, distribution=True, refuse=0.1)
    for scores in _card({"model": rows}).method("model").scores:
        for values in (scores.headline, scores.answered):
            assert values.keys() <= METRICS.keys()
            assert all(item.low is None or item.low <= (item.high or 0) for item in values.values())


def test_invalid_rows_are_wrong_in_the_headline_and_absent_beside_it():
    rows = predictions(refuse=0.3, votes=True, distribution=True)
    scores = _card({"model": rows}).method("model").find("all")
    invalid = sum(row.state is State.TRUNCATED for row in rows)
    assert scores.states == {"ok": 60 - invalid, "truncated": invalid}
    assert (scores.n, scores.n_answered) == (60, 60 - invalid)
    share = invalid / 60
    for name, worst in (("brier", 1.0), ("ece", 1.0), ("agreement_brier", 1.0), ("hellinger", 1.0), ("accuracy", 0.0)):
        answered = scores.answered[name].value
        assert answered is not None
        assert scores.headline[name].value == pytest.approx((1 - share) * answered + share * worst), name


def test_the_order_of_the_rows_changes_nothing():
    rows = _two_tasks(refuse=0.1, per_cluster=3)
    order = np.random.default_rng(0).permutation(len(rows))
    first = _card({"model": rows}, suite=SUITE).to_json()
    assert _close(json.loads(first), json.loads(_card({"model": [rows[i] for i in order]}, suite=SUITE).to_json()))


def test_a_table_and_its_rows_give_one_scorecard():
    rows = predictions(per_cluster=4)
    table = PredictionTable.from_predictions(rows)
    assert build_scorecard({"m": table}, settings=QUICK).to_json() == _card({"m": rows}).to_json()


def test_the_json_is_strict_and_undefined_is_null():
    rows = [structs.replace(row, predicted=row.truth) for row in predictions()]
    text = _card({"model": rows}).to_json()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    assert content["schema"] == 2
    assert content["methods"][0]["scores"][0]["headline"]["auroc"] == {"value": None, "low": None, "high": None}


def test_the_constant_is_a_reference_with_no_skill_and_no_discrimination():
    constant = _card({"model": predictions()}).method("constant per task (model)")
    scores = constant.find("all").headline
    assert constant.role == "reference"
    assert constant.oracle
    assert "oracle" in constant.note
    assert scores["auroc"].value == 0.5
    assert scores["brier_skill"].value == pytest.approx(0.0)


def test_with_calibration_rows_the_constant_is_estimated_there():
    card = _card({"model": predictions()}, calibration={"model": predictions(n=80, seed=5)})
    stated = card.method("constant per task (model)").find("all").headline["mean_confidence"].value
    calibration = PredictionTable.from_predictions(predictions(n=80, seed=5))
    assert stated == pytest.approx(float(calibration.label_right().mean()))
    assert card.method("isotonic (model)").role == "reference"


def test_methods_with_the_same_labels_share_their_constant():
    rows = predictions("a")
    card = _card({"a": rows, "b": [structs.replace(row, confidence=0.5, method="b") for row in rows]})
    assert [item.name for item in card.methods if item.role == "reference"] == ["constant per task (a)"]


def test_thresholds_come_from_calibration_rows_or_are_marked():
    rows = predictions(n=200)
    without = _card({"model": rows})
    assert without.method("model").find("all").trusted == []
    assert any("no trusted threshold" in note for note in without.notes)
    on_test = _card({"model": rows}, threshold_on_test=True)
    assert {item.chosen_on for item in on_test.method("model").find("all").trusted} == {"test"}
    assert any("flatters" in note for note in on_test.notes)
    held = _card({"model": rows}, calibration={"model": predictions(n=200, seed=3)})
    trusted = held.method("model").find("all").trusted
    assert {item.chosen_on for item in trusted} == {"calibration"}
    for item in trusted:
        assert item.lift.value == pytest.approx((item.f1.value or 0) - (item.trust_all_f1.value or 0))


def test_paired_differences_are_narrower_than_the_methods_own_intervals():
    rows = predictions("a", 300)
    other = [structs.replace(row, method="b", confidence=_surer_if_wrong(row)) for row in rows]
    card = _card({"a": rows, "b": other})
    paired = next(item for item in card.comparisons if (item.first, item.second) == ("a", "b"))
    brier = paired.headline["brier"]
    own = card.method("a").find("all").headline["brier"]
    assert brier.value == pytest.approx((own.value or 0) - (card.method("b").find("all").headline["brier"].value or 0))
    assert (brier.high or 0) - (brier.low or 0) < 0.7 * ((own.high or 0) - (own.low or 0))
    assert (brier.p_value or 1) < 0.05
    assert paired.headline["accuracy"].p_value == 1.0


def test_a_difference_of_calibration_errors_may_be_negative_and_lies_in_its_interval():
    rows = _two_tasks()
    sure = [structs.replace(row, method="sure", confidence=0.99) for row in rows]
    [pair] = [
        pair
        for pair in _card({"model": rows, "sure": sure}).comparisons
        if (pair.first, pair.second, pair.kind, pair.aggregation) == ("model", "sure", "all", "pooled")
    ]
    for name in ("miscalibration", "ece", "smooth_ece"):
        assert pair.headline[name].low <= pair.headline[name].value <= pair.headline[name].high < 0, name


def test_methods_are_compared_on_the_samples_that_both_have():
    card = _card({"a": predictions("a", 60), "b": list(reversed(predictions("b", 40, 1)))})
    paired = next(item for item in card.comparisons if (item.first, item.second) == ("a", "b"))
    assert paired.n == 40


def test_files_that_contradict_each_other_are_an_error_that_names_the_sample():
    rows = predictions("a")
    other = [structs.replace(row, method="b", truth="neutral") for row in rows]
    with pytest.raises(UserError, match=r"sample 'emoji/\d+' has truth"):
        _card({"a": rows, "b": other})


def test_clusters_widen_the_interval():
    rows = predictions(n=300)
    tied = [structs.replace(row, cluster=f"c{row.truth}{number % 6}") for number, row in enumerate(rows)]
    cards = [_card({"model": item}) for item in (rows, tied)]
    assert [card.settings.unit for card in cards] == ["row", "cluster"]
    assert cards[1].method("model").find("all").n_clusters == len({row.cluster for row in tied})


def test_rows_without_a_cluster_are_units_of_their_own():
    rows = predictions(n=100)
    empty = [structs.replace(row, cluster="") for row in rows]
    cards = [_card({"model": each}) for each in (rows, empty)]
    assert cards[1].settings.unit == "row"
    assert cards[0].to_json() == cards[1].to_json()
    mixed = [structs.replace(row, cluster="drawing" if number < 40 else "") for number, row in enumerate(rows)]
    card = _card({"model": mixed})
    assert card.settings.unit == "cluster"
    assert card.method("model").find("all").n_clusters == 61


def test_rows_that_all_name_one_cluster_are_refused_with_a_sentence():
    rows = [structs.replace(row, cluster="photos") for row in predictions(n=30)]
    with pytest.raises(UserError, match=r"all 30 rows are in one cluster.*leave 'cluster' empty"):
        _card({"model": rows})


def test_no_value_has_an_interval_of_no_width_because_its_rows_are_one_cluster():
    rows = [structs.replace(row, cluster="tied") if row.task == "faces" else row for row in _two_tasks()]
    card = _card({"model": rows})
    tied = card.method("model").find("task", "faces")
    assert tied.n_clusters == 1
    assert all(value.low is None and value.high is None for value in tied.headline.values())
    assert tied["brier"].value is not None
    assert card.method("model").find("task", "emoji")["brier"].low is not None
    assert any("no interval for task 'faces'" in note for note in card.notes)
    one_row = _card({"model": predictions(n=1)})
    assert one_row["accuracy"].low is None


def test_strata_of_ambiguity_stand_beside_the_whole():
    scores = _card({"model": predictions(votes=True)}).method("model").scores
    strata = {item.name: item.n for item in scores if item.kind == "stratum"}
    assert sum(strata.get(name, 0) for name in ("unanimous", "majority", "no majority")) == 60
    assert sum(strata.get(name, 0) for name in ("low entropy", "middle entropy", "high entropy")) == 60


def test_an_unknown_task_or_label_is_an_error_that_names_it():
    with pytest.raises(UserError, match=r"no task \['emojis'\]"):
        _card({"model": predictions(task="emojis")}, suite=SUITE)
    with pytest.raises(UserError, match=r"no true label of task 'emoji' \['angry'\]"):
        _card({"model": [structs.replace(predictions()[0], truth="angry")]}, suite=SUITE)


def test_rows_that_are_missing_from_the_suite_are_noted():
    assert (
        "model: task emoji has 59 rows, but 60 in the suite" in _card({"model": predictions(n=59)}, suite=SUITE).notes
    )


def test_rows_without_a_group_take_the_only_one_of_their_task():
    suite = Suite("test", {"emoji": Task(LABELS)}, {"known": ("emoji",)})
    card = _card({"model": predictions(group="")}, suite=suite)
    assert card.method("model").find("group", "known").n == 60


def test_continuous_confidences_keep_their_exact_value():
    rng = np.random.default_rng(0)
    rows = [structs.replace(row, confidence=float(rng.random()), group="") for row in predictions(n=1500)]
    card = build_scorecard({"model": rows}, settings=replace(DEFAULTS, replicates=40))
    value = card.method("model").find("all").headline["brier"]
    expected = np.mean([((row.confidence or 0) - (row.predicted == row.truth)) ** 2 for row in rows])
    assert value.value == pytest.approx(expected, abs=1e-12)
    assert (value.low or 1) < expected < (value.high or 0)


def _surer_if_wrong(row: Prediction) -> float:
    return min(1.0, (row.confidence or 0.0) + 0.05 * (row.predicted != row.truth))


def _close(first: object, second: object) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_close(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_close, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return first == pytest.approx(second, abs=1e-9)
    return first == second


def test_what_an_answer_takes_is_the_mean_of_the_rows_that_say_so():
    rows = [structs.replace(row, questions=1 + n % 2, tokens=10) for n, row in enumerate(predictions("asked", 60))]
    card = _card({"asked": [*rows[:40], *predictions("asked", 60)[40:]], "silent": predictions("silent", 60)})
    assert card.method("asked").cost == Cost(1.5, 10.0)
    assert card.method("silent").cost is None
    assert {method.cost for method in card.methods if method.role == "reference"} == {None}
    assert json.loads(card.to_json())["methods"][0]["cost"] == {"questions": 1.5, "tokens": 10.0}
