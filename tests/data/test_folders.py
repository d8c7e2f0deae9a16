"""A level of folders that may be a split is asked about: it is never an emotion."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.data.folders import looks_like_split
from tests.data import layout_files as files

SPLITS = ["train_set", "Train Data", "training_images", "train2017", "TestData", "val2017", "fold1", "cv-3", "test set",
          "dev_set", "rafdb_train_aligned", "PublicTest_faces", "evaluation", "holdout", "split_0",
          "my-validation", "session1", "phase 2", "batch_1", "gallery", "tr", "tst", "entrenamiento", "apprentissage",
          "训练集", "テスト", "images", "annotations", "aligned"]  # fmt: skip
EMOTIONS = ["happy", "contentment", "value", "trained", "detest", "partying", "contempt", "neutral", "tired", "setback"]


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("nested", [True, False])
def test_a_split_by_another_name_is_no_label(tmp_path: Path, name: str, *, nested: bool):
    files.by_class(tmp_path, *(f"{folder}{'/joy' if nested else ''}" for folder in (name, "another")), each=1)
    listed = files.problems(tmp_path)
    assert {problem.kind for problem in listed} == {"split or label?"}
    assert any(repr(name) in str(problem) for problem in listed)
    assert not any(problem.droppable for problem in listed)


@pytest.mark.parametrize("name", EMOTIONS)
def test_an_emotion_is_no_split(name: str):
    assert not looks_like_split(name)


@pytest.mark.parametrize("tops", [("a", "b"), ("asian", "caucasian"), ("2019", "2020")])
def test_class_folders_within_folders_are_asked_about(tmp_path: Path, tops: tuple[str, ...]):
    files.by_class(tmp_path, *(f"{top}/{label}" for top in tops for label in ("joy", "fear")), each=1)
    listed = files.problems(tmp_path)
    assert {problem.kind for problem in listed} == {"split or label?"}
    assert "'fear', 'joy'" in str(listed[0])


def test_declared_labels_may_have_folders_inside(tmp_path: Path):
    files.by_class(tmp_path, "joy/dog", "fear/dog", each=1)
    assert {problem.kind for problem in files.problems(tmp_path)} == {"split or label?"}
    assert [s.label for s in files.read(tmp_path, labels="joy,fear")] == ["fear", "joy"]


def test_a_folder_that_only_wraps_the_data_is_named(tmp_path: Path):
    files.by_class(tmp_path, "images/train/joy", "images/validation/joy", each=1)
    (problem,) = files.problems(tmp_path)
    assert f"give {tmp_path / 'images'}, which holds train, validation" in problem.fix


def test_leftovers_of_archives_and_file_managers_are_left_out(tmp_path: Path):
    files.by_class(tmp_path, "joy", "fear", each=1)
    for name in ("__MACOSX/joy/._0.png", "joy/Thumbs.db", "joy/.DS_Store", "fear/desktop.ini", "@eaDir/x/0.png"):
        files.put(tmp_path / name, 1)
    samples = files.read(tmp_path)
    assert [s.label for s in samples] == ["fear", "joy"]
    assert {s.candidates for s in samples} == {("fear", "joy")}


def test_spellings_of_a_class_in_two_splits_are_one_label(tmp_path: Path):
    files.by_class(tmp_path, "train/Happy", "train/sad", "test/happy", "test/Sad", each=1)
    assert len({s.label for s in files.read(tmp_path)}) == 2


@pytest.mark.parametrize("name", ["unknown", "None", "nan"])
def test_a_folder_that_says_that_there_is_no_label_is_asked_about(tmp_path: Path, name: str):
    files.by_class(tmp_path, "joy", "fear", name, each=1)
    assert [problem.kind for problem in files.problems(tmp_path)] == ["no label"]
    assert len(files.read(tmp_path, labels=f"joy,fear,{name}")) == 3


@pytest.mark.parametrize("declared", [None, "joy,fear"])
def test_a_split_below_a_class_is_asked_about_whatever_is_declared(tmp_path: Path, declared: str | None):
    files.by_class(tmp_path, "joy/train", "joy/test", "fear/train", "fear/test", each=1)
    listed = files.problems(tmp_path, labels=declared)
    assert {problem.kind for problem in listed} == {"split or label?"}
    assert "test/fear" in listed[0].fix


def test_numbers_before_labels_are_asked_about_and_the_option_renames_them(tmp_path: Path):
    files.by_class(tmp_path, "0_angry", "1 - happy", each=1)
    (problem,) = files.problems(tmp_path)
    option = problem.fix.partition("--labels ")[2].strip("'")
    assert option == "0_angry=angry,1 - happy=happy"
    assert [s.label for s in files.read(tmp_path, labels=option)] == ["angry", "happy"]


def test_a_table_beside_the_folder_of_its_pictures_is_named(tmp_path: Path):
    files.put(tmp_path / "images" / "0.png", 1)
    files.table(tmp_path / "labels.csv", ["image", "label"], ["0.png", "joy"])
    (problem,) = files.problems(tmp_path)
    assert f"{tmp_path / 'labels.csv'} --root" in problem.fix
