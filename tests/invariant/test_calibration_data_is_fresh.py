"""Promise: no item whose label taught a stage is used to fit what comes after it, and none of either is in a test.

For the data that is shipped, and for what is fitted after stage 3: a temperature, an isotonic map, a threshold, a
constant's value, the chat's record.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from msgspec import structs

from emocaliber.chat.record import held_out_rows
from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, read_predictions, write_predictions
from emocaliber.data import embedded, leaks
from emocaliber.data.parquet import read_samples
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.runs.evaluate import merged
from emocaliber.runs.judging import ISOTONIC, STATED, TEMPERATURE, read_rows
from emocaliber.stages.clusters import (
    TRAINED,
    fresh_rows,
    held_out_clusters,
    read_trained_clusters,
    trained_clusters_of,
    write_trained_clusters,
)
from tests.prediction_rows import LABELS, predictions
from tests.runs.few_rows import few_rows

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny" / "3-calibrate.yaml"
TINY_ADAPTER = Path(embedded.__file__).parent / "tiny-adapter"
SHARE, SEED = 0.25, 3
FAST = dataclasses.replace(DEFAULTS, replicates=2)


@pytest.mark.parametrize("task", embedded.FILES)
def test_the_shipped_splits_share_no_picture_and_no_item(task: str):
    samples = embedded.load(task)
    assert {"train", "calibrate", "test"} <= {sample.split for sample in samples}
    leaks.check_disjoint(samples)


def test_a_taught_emoji_in_a_new_style_would_not_pass_as_a_test_row():
    moved = [dataclasses.replace(s, split="test") if s.split == "known" else s for s in embedded.load("emoji")]
    with pytest.raises(UserError, match="one cluster"):
        leaks.check_disjoint(moved)


def calibration_rows() -> list[Prediction]:
    rows = predictions(n=160, seed=5, distribution=True, per_cluster=2)
    return [structs.replace(row, id=f"c{row.id}", cluster=f"c{row.cluster}") for row in rows]


def held_out() -> frozenset[str]:
    return held_out_clusters((row.cluster for row in calibration_rows()), SHARE, SEED)


def run_folder(out: Path, changed: Callable[[Prediction], Prediction] = lambda row: row) -> Path:
    """A finished run, as far as it is judged: predictions, and the clusters that stage 3 learned from."""
    test, calibration = predictions(n=60, distribution=True), list(map(changed, calibration_rows()))
    for stage, names in ((1, ["probability"]), (2, ["stated"]), (3, ["stated", "expected", "probability"])):
        for name in names:
            for split, rows in (("test", test), ("calibrate", calibration)):
                write_predictions(out / "predictions" / f"stage-{stage}" / f"{name}.{split}.jsonl", rows)
    write_trained_clusters(out / "3-calibrate" / "adapter", {row.cluster for row in calibration_rows()} - held_out())
    return out


def other_truth(row: Prediction) -> Prediction:
    return structs.replace(row, truth=LABELS[(LABELS.index(row.truth) + 1) % 3])


def judged(run: Path) -> tuple[Scorecard, list[Prediction]]:
    test, calibration = read_rows(run, "test"), read_rows(run, "calibrate")
    names = (STATED, TEMPERATURE, ISOTONIC)
    few = {name: test[name] for name in names}, {name: calibration[name] for name in names}
    card = build_scorecard(few[0], calibration=few[1], subject=STATED, settings=FAST)
    return card, [*test[TEMPERATURE], *test[ISOTONIC]]


def test_labels_that_stage_3_learned_from_change_nothing_that_is_fitted_after_it(tmp_path: Path):
    before = judged(run_folder(tmp_path / "before"))
    taught = run_folder(tmp_path / "taught", lambda row: row if row.cluster in held_out() else other_truth(row))
    assert judged(taught) == before
    fresh = run_folder(tmp_path / "fresh", lambda row: other_truth(row) if row.cluster in held_out() else row)
    card, maps = judged(fresh)
    assert maps != before[1]
    assert card != before[0]


def test_every_calibration_row_of_a_run_is_of_a_cluster_that_was_held_out(tmp_path: Path):
    for rows in read_rows(run_folder(tmp_path), "calibrate").values():
        assert {row.cluster for row in rows} == held_out()


def test_a_run_that_does_not_say_what_it_learned_from_is_not_judged(tmp_path: Path):
    run = run_folder(tmp_path)
    (run / "3-calibrate" / "adapter" / TRAINED).unlink()
    with pytest.raises(UserError, match=rf"{TRAINED}: No such file"):
        read_rows(run, "test")


def test_evaluate_keeps_fresh_calibration_rows_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = run_folder(tmp_path)
    trained = read_trained_clusters(run / "3-calibrate" / "adapter")
    write_predictions(tmp_path / "answers" / "predictions.jsonl", calibration_rows())
    [path] = merged([tmp_path / "answers"], Source.VERBALIZED, tmp_path / "rows.jsonl", "stated", trained)
    assert {row.cluster for row in read_predictions(path)} == held_out()
    assert "of 160 calibration rows are fresh" in capsys.readouterr().out


def test_weights_of_a_stage_3_without_its_record_are_refused(tmp_path: Path):
    copy = shutil.copytree(TINY_ADAPTER, tmp_path / "adapter")
    assert trained_clusters_of(copy) == read_trained_clusters(TINY_ADAPTER)
    (copy / TRAINED).unlink()
    with pytest.raises(UserError, match=f"{TRAINED}: No such file.*run stage 3 again"):
        trained_clusters_of(copy)
    question = json.loads((copy / "emocaliber.json").read_text())
    (copy / "emocaliber.json").write_text(json.dumps(question | {"stage": "verbalize"}))
    assert trained_clusters_of(copy) == trained_clusters_of("a/model/of/the/hub") == frozenset()


def test_the_shipped_adapters_record_leaves_the_rows_that_its_stage_3_held_out():
    tasks = json.loads((TINY_ADAPTER / "calibration.json").read_text())["tasks"]
    for task in tasks:
        samples = [sample for sample in embedded.load(task["task"]) if sample.split == "calibrate"]
        rows = [structs.replace(predictions(n=1)[0], id=sample.id, cluster=sample.cluster) for sample in samples]
        fresh = fresh_rows(rows, trained_clusters_of(TINY_ADAPTER))
        assert len(fresh) == sum(level["answers"] for level in task["stated"]) < len(rows)


@pytest.mark.slow
def test_stage_3_records_the_clusters_that_it_learned_from_and_the_chat_counts_the_others(tmp_path: Path):
    data, out = few_rows(tmp_path / "few.parquet", {"calibrate": 24, "unlabelled": 8}), tmp_path / "run"
    recipe = yaml.safe_load(RECIPE.read_text()) | {"data": [str(data)], "max_steps": 2, "save_steps": 1}
    (tmp_path / "3-calibrate.yaml").write_text(yaml.safe_dump(recipe))
    stage = ["train", str(tmp_path / "3-calibrate.yaml"), "--adapter", str(TINY_ADAPTER)]
    assert main([*stage, "--out", str(out / "3-calibrate")]) == 0
    trained = read_trained_clusters(out / "3-calibrate" / "adapter")
    samples = [
        structs.replace(predictions(n=1)[0], id=sample.id, cluster=sample.cluster)
        for sample in read_samples(data)
        if sample.split == "calibrate"
    ]
    fresh = fresh_rows(samples, trained)
    done = json.loads((out / "3-calibrate" / "done.json").read_text())["result"]
    assert done["held_out"] <= len(fresh) <= done["held_out"] + done["unreadable"]
    assert 0 < len(fresh) < len(samples)
    write_predictions(out / "predictions" / "stage-3" / "stated.calibrate.jsonl", samples)
    assert held_out_rows(out) == fresh
