"""What a stage leaves beside its adapter survives a stop at any place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.runs.train import BOARDS, carried, keep_boards, refuse_one_label
from emocaliber.stages.fast.vision_features import INDEX, NUMBERS
from emocaliber.stages.recipe import load_recipe
from emocaliber.stages.supervised import trainer_keys

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny" / "1-label.yaml"


def written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_features_go_from_stage_to_stage_and_those_of_a_stage_done_again_do_not_stop_the_next(tmp_path: Path) -> None:
    between, features = tmp_path / "features", tmp_path / "2-verbalize" / "features"
    written(between / NUMBERS, "stage 1")
    features.parent.mkdir()
    with carried(between, features):
        assert (features / NUMBERS).read_text() == "stage 1"
        assert not between.exists()
        written(between / NUMBERS, "stage 1 again")
        written(features / INDEX, "stage 2")
    assert {file.name: file.read_text() for file in between.iterdir()} == {NUMBERS: "stage 1", INDEX: "stage 2"}
    assert not features.exists()
    with carried(None, between):
        pass
    assert not between.exists()


def test_a_trackers_files_are_kept_by_a_run_that_was_killed_after_keeping_them_once(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    written(checkpoints / BOARDS / "events.1", "first")
    keep_boards(checkpoints)
    written(checkpoints / BOARDS / "events.2", "second")
    keep_boards(checkpoints)
    assert sorted(file.name for file in (tmp_path / BOARDS).iterdir()) == ["events.1", "events.2"]


def test_data_that_leaves_nothing_to_choose_is_refused_with_the_command_that_mends_it() -> None:
    recipe = load_recipe(RECIPE, trainer_keys(), [])
    joy = Sample("1", b"", "faces", ("joy",), "joy", "train", "a face", "1")
    refuse_one_label(recipe, [dataclasses.replace(joy, candidates=("joy", "fear"))])
    with pytest.raises(
        UserError, match=r"1-label\.yaml: data: task 'faces' has the one label 'joy'.*--labels joy,fear"
    ):
        refuse_one_label(recipe, [joy])
