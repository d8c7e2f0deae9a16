"""The record of a run counts the rows that stage 3 held out, and those alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from emocaliber.chat.record import FILE, held_out_rows, read_record
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import write_predictions
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import load
from emocaliber.models.location import TINY_ADAPTER
from emocaliber.stages.calibrate.stage import held_out_split
from emocaliber.stages.clusters import held_out_clusters, write_trained_clusters
from emocaliber.stages.examples import TrainingExample
from tests.chat.test_record import RIGHT, WRONG

ROWS = [replace(row, cluster=f"c{n % 30}") for n, row in enumerate(RIGHT + WRONG)]
SHARE, SEED = 0.25, 7


def finished(run: Path, held_out: int) -> Path:
    """A finished run's folder, as far as the record reads it."""
    (run / "3-calibrate" / "adapter").mkdir(parents=True)
    (run / "predictions" / "stage-3").mkdir(parents=True)
    result = {"held_out": held_out, "unreadable": 0}
    (run / "3-calibrate" / "done.json").write_text(json.dumps({"inputs": {}, "result": result}))
    clusters = {row.cluster for row in ROWS}
    write_trained_clusters(run / "3-calibrate" / "adapter", clusters - held_out_clusters(clusters, SHARE, SEED))
    write_predictions(run / "predictions" / "stage-3" / "stated.calibrate.jsonl", ROWS)
    return run


def by_training() -> tuple[set[str], set[str]]:
    """The rows' ids as stage 3 splits them: trained on, held out."""
    samples = [Sample(r.id, b"", "t", ("joy", "awe"), "joy", "calibrate", "", r.cluster) for r in ROWS]
    text = load_template("label-confidence").write(label="joy", confidence=0.8)
    fit, held = held_out_split([TrainingExample(sample, text) for sample in samples], samples, SHARE, SEED)
    return {example.sample.id for example in fit}, {example.sample.id for example in held}


def test_the_rows_counted_are_those_that_stage_3_did_not_train_on(tmp_path: Path):
    trained, held = by_training()
    run = finished(tmp_path, len(held))
    assert {row.id for row in held_out_rows(run)} == held
    assert trained
    assert not trained & held
    [task] = read_record(run).tasks
    assert sum(row.answers for row in task.stated) == len(held)


def test_rows_of_another_run_are_refused(tmp_path: Path):
    run = finished(tmp_path, 3)
    with pytest.raises(UserError, match="must come from the same run"):
        read_record(run)


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no finished stage 3"):
        read_record(tmp_path)


def test_the_split_is_the_same_for_rows_in_any_order_and_number():
    clusters = [row.cluster for row in ROWS]
    assert held_out_clusters(clusters, SHARE, SEED) == held_out_clusters(sorted(set(clusters)), SHARE, SEED)
    assert len(held_out_clusters(clusters, SHARE, SEED)) == round(SHARE * 30)


def test_the_record_that_comes_along_counts_a_quarter_of_the_calibration_split():
    """By the clusters that the tiny recipe, seed 0, held out; not one row more."""
    for task in read_record(TINY_ADAPTER / FILE).tasks:
        rows = [row for data in ("kaomoji", "emoji") for row in load(data, "calibrate")]
        held = held_out_clusters((row.cluster for row in rows), 0.25, 0)
        assert task.refused + sum(row.answers for row in task.stated) == sum(
            row.cluster in held and row.task == task.task for row in rows
        )
