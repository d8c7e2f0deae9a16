"""Stage 2 does not take a teacher's memory of taught labels for its confidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import load
from emocaliber.stages.recipe import load_recipe
from emocaliber.stages.supervised import trainer_keys
from emocaliber.stages.verbalize import refuse_taught, verbalize

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny" / "2-verbalize.yaml"


def rows(*splits: str) -> list[Sample]:
    return [row for row in load("kaomoji") if row.split in splits][::500]


def no_teacher(*_: object) -> object:
    raise AssertionError("nothing is loaded before the rows are checked")


def test_rows_that_all_taught_stage_1_are_refused_and_told_how_to_cross_fit(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE, trainer_keys(), ["data=[kaomoji]", "splits=[train]"])
    with pytest.raises(UserError, match=r"learned the label of every row of train.*fold=1/2.*teachers=\["):
        verbalize(recipe, rows("train", "calibrate"), None, tmp_path, no_teacher)  # type: ignore[arg-type]


def test_rows_without_labels_other_splits_and_teachers_of_folds_are_taken() -> None:
    recipe = load_recipe(RECIPE, trainer_keys(), ["data=[kaomoji]"])
    refuse_taught(recipe, rows("train", "unlabelled"))
    refuse_taught(recipe, rows("calibrate"))
    refuse_taught(replace(recipe, teachers=("1/adapter", "2/adapter")), rows("train"))
