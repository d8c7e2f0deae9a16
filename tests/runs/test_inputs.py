"""A folder of a stage goes on only with what its result depends on: whatever may change it is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.samples import FileImage, Sample
from emocaliber.data.embedded import load
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.resume import file_hash, hash_of_data, inputs_of

RECIPE = Path("recipes/tiny/1-label.yaml")


def beside(folder: Path) -> list[Sample]:
    return [replace(load("emoji", "train")[0], image=FileImage(folder, "face.png"))]


def test_a_picture_that_changes_beside_its_data_file_is_other_input(tmp_path: Path):
    inputs = []
    for content in (b"one picture", b"another"):
        (tmp_path / "face.png").write_bytes(content)
        inputs.append(inputs_of(read_recipe(RECIPE), None, beside(tmp_path)))
    (tmp_path / "face.png").unlink()
    inputs.append(inputs_of(read_recipe(RECIPE), None, beside(tmp_path)))
    assert len({each["pictures"] for each in inputs}) == 3


@pytest.mark.parametrize("key", ["packing=false", "keep_features=false", "share_questions=false"])
def test_what_changes_the_speed_alone_is_no_input(key: str):
    assert inputs_of(read_recipe(RECIPE, [key]), None, []) == inputs_of(read_recipe(RECIPE), None, [])


@pytest.mark.parametrize("key", ["learning_rate=0.001", "seed=1", "data=[emoji]", "template=reasoning-label"])
def test_what_changes_the_result_is(key: str):
    assert inputs_of(read_recipe(RECIPE, [key]), None, []) != inputs_of(read_recipe(RECIPE), None, [])


def test_pairs_that_are_not_there_are_named():
    recipe = read_recipe(Path("recipes/tiny/3-calibrate-dpo.yaml"), ["pairs=missing.jsonl"])
    with pytest.raises(UserError, match=r"no file missing\.jsonl; make it with `emocaliber data pairs`"):
        inputs_of(recipe, None, [])


def test_a_data_file_is_hashed_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = tmp_path / "data.parquet"
    data.write_bytes(b"one")
    first = hash_of_data(data)
    assert first == file_hash(data)
    with monkeypatch.context() as context:
        context.setattr("emocaliber.runs.resume.file_hash", lambda path: pytest.fail("hashed again"))
        assert hash_of_data(data) == first
    data.write_bytes(b"others")
    assert hash_of_data(data) == file_hash(data) != first
