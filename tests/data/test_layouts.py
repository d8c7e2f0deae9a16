"""Folders, tables and Hub data sets of no published name are recognised, and what cannot be told is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.images import load_image
from emocaliber.data.layouts import layout_of
from emocaliber.data.votes import distribution
from tests.data import layout_files as files


def test_a_folder_by_class_needs_nothing_said(tmp_path: Path):
    samples = files.read(files.by_class(tmp_path, "happy", "sad"))
    assert [(s.label, s.split) for s in samples] == [("happy", "train")] * 2 + [("sad", "train")] * 2
    assert {s.candidates for s in samples} == {("happy", "sad")}


def test_a_folder_by_split_and_class_keeps_its_splits(tmp_path: Path):
    for split in ("train", "val", "test"):
        files.by_class(tmp_path / split, "happy", "sad", each=1)
    splits = [s.split for s in files.read(tmp_path)]
    assert splits == ["test", "test", "train", "train", "calibrate", "calibrate"]


def test_a_csv_may_hold_votes_in_columns_or_in_a_cell(tmp_path: Path):
    files.put(tmp_path / "1.png", 1)
    columns = files.table(tmp_path / "a.csv", ["image", "votes.joy", "votes.fear"], ["1.png", 3, 1])
    cell = files.table(
        tmp_path / "b.csv", ["image", "votes", "candidates"], ["1.png", '{"joy": 3, "fear": 1}', '["joy", "fear"]']
    )
    for path in (columns, cell):
        (sample,) = files.read(path)
        assert (sample.label, sample.votes) == ("joy", {"joy": 3, "fear": 1})


def test_mean_ratings_give_no_counts_and_a_distribution_that_is_marked_as_fitted(tmp_path: Path):
    files.put(tmp_path / "1.png", 1)
    votes = {"joy": {"mean": 3.0, "sd": 1.2, "n": 20}, "fear": {"mean": 1.0, "sd": 0.5, "n": 20}}
    path = files.lines(tmp_path / "a.jsonl", [{"image": "1.png", "votes": votes, "label": "joy"}])
    (sample,) = files.read(path, taxonomy=None)
    assert sample.votes is None
    assert distribution(sample) == ({"fear": 0.25, "joy": 0.75}, True)


@pytest.mark.slow
def test_a_hugging_face_data_set_is_read_by_name_and_revision(tmp_path: Path):
    from datasets import ClassLabel, Dataset, Features, Image

    features = Features({"image": Image(), "label": ClassLabel(names=["joy", "fear"])})
    rows = {"image": [{"bytes": files.picture(n), "path": None} for n in range(2)], "label": [1, 0]}
    Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "data" / "train-00000.parquet"))
    first, second = files.read(f"hub:{tmp_path}@main")
    assert (first.label, second.label, first.candidates, first.split) == ("fear", "joy", ("joy", "fear"), "train")
    assert load_image(first.image).size == (16, 16)


def test_a_hub_data_set_without_a_revision_is_refused():
    with pytest.raises(UserError, match="name a revision"):
        files.read("hub:someone/emotions")


@pytest.mark.parametrize("name", ["nowhere", "notes.txt", "bare"])
def test_what_cannot_be_told_is_refused_with_what_to_give(tmp_path: Path, name: str):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match=r"no such|ending in|give a folder with one folder per class"):
        layout_of(tmp_path / name)


@pytest.mark.parametrize("name", ["set.7z", "set.RAR", "t.csv.zst", "t.csv.xz"])
def test_an_archive_of_another_kind_is_to_be_unpacked(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UserError, match="unpack it, and give what is in it"):
        layout_of(tmp_path / name)
