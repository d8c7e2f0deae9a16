"""The published sets of pictures with labels or votes are recognised and read as released, odd rows included."""

from __future__ import annotations

import csv
from pathlib import Path

from emocaliber.core.images import load_image
from emocaliber.core.taxonomy import UNBIASEDEMO_6
from emocaliber.data.layouts import Source, layout_of
from emocaliber.data.rows import Note
from tests.data import layout_files as files


def test_emoset_is_read_by_its_lists_and_its_validation_is_for_calibration(tmp_path: Path):
    folder = files.emoset(tmp_path)
    assert layout_of(folder) == "emoset"
    assert [(s.label, s.split, s.task) for s in files.read(folder)] == [
        ("awe", "train", "EmoSet-8"),
        ("fear", "calibrate", "EmoSet-8"),
        ("sadness", "test", "EmoSet-8"),
    ]


def test_fi_is_read_from_capitalised_class_folders(tmp_path: Path):
    folder = files.by_class(tmp_path, *files.CANDIDATES, each=1)
    assert sorted(str(s.label) for s in files.read(folder, layout="fi")) == sorted(files.MIKELS)


def test_unbiasedemo_is_read_with_its_folder_for_each_object(tmp_path: Path):
    files.put(tmp_path / "joy" / "dog" / "1.jpg", 1)
    files.put(tmp_path / "fear" / "dog" / "1.jpg", 2)
    samples = files.read(tmp_path, layout="unbiasedemo")
    assert [(s.id, s.label, s.split) for s in samples] == [
        ("fear/dog/1.jpg", "fear", "test"),
        ("joy/dog/1.jpg", "joy", "test"),
    ]
    assert samples[0].candidates == UNBIASEDEMO_6.labels


def test_webemo_is_read_by_its_lists_and_its_misspellings_are_accepted(tmp_path: Path):
    test, train = files.read(files.webemo(tmp_path))
    assert (train.label, train.split, train.task) == ("cheerfulness", "train", "WebEmo-25")
    assert (test.label, test.split) == ("irritability", "test")


def test_artphoto_is_read_by_the_names_of_its_files(tmp_path: Path):
    folder = files.artphoto(tmp_path)
    assert layout_of(folder) == "artphoto"
    assert [(s.label, s.split, s.task) for s in files.read(folder)] == [
        ("amusement", "test", "Artphoto-8"),
        ("sadness", "test", "Artphoto-8"),
    ]


def test_abstract_keeps_its_raters_counts_and_its_ties(tmp_path: Path):
    first, tied = files.read(files.abstract(tmp_path))
    assert (first.label, first.label_rule) == ("amusement", "plurality")
    assert first.votes == {"amusement": 5, "awe": 0, "contentment": 2, "excitement": 3,
                         "anger": 1, "disgust": 0, "fear": 1, "sadness": 2}  # fmt: skip
    assert tied.label is None
    assert tied.votes is not None
    assert tied.votes["awe"] == tied.votes["contentment"] == 4


def test_ferplus_keeps_ten_votes_and_gives_no_label_where_unknown_wins(tmp_path: Path):
    folder = files.ferplus(tmp_path)
    assert layout_of(folder) == "ferplus"
    train, valid, test = files.read(folder)
    assert (train.label, train.split, valid.label, valid.split) == ("neutral", "train", "happiness", "calibrate")
    assert (test.label, test.split) == (None, "test")
    assert {s.ratings.raters for s in (train, valid, test) if s.ratings} == {10}


FERPLUS_ODD = [
    ["Training", "fer0000003.png", 0, 0, 0, 0, 0, 0, 0, 0, 0, 10],
    ["Training", "fer0000004.png", 9, 0, 0, 0, 0, 0, 1, 0, 0, 0],
    ["Training", "fer0000004.png", 9, 0, 0, 0, 0, 0, 1, 0, 0, 0],
    ["PrivateTest", "fer0000005.png", 5, 0, 0, 1, 1, 0, 0, 0, 3, 0],
    ["PrivateTest", "fer0000005.png", 0, 0, 0, 0, 0, 0, 0, 0, 0, 10],
]


def test_what_is_odd_in_ferplus_as_released_is_read_and_noted(tmp_path: Path):
    folder = files.ferplus(tmp_path)
    with (folder / "fer2013new.csv").open("a", newline="") as file:
        csv.writer(file).writerows(FERPLUS_ODD)
    for number, part in ((3, "Train"), (4, "Train"), (5, "Test")):
        files.put(folder / f"FER2013{part}" / f"fer000000{number}.png", number)
    samples = {s.id.rpartition("/")[2]: s for s in files.read(folder)}
    assert len(samples) == 6
    unvoted, twice, conflict = (samples[f"fer000000{number}.png"] for number in (3, 4, 5))
    assert (unvoted.label, unvoted.votes, unvoted.split) == (None, None, "train")
    assert unvoted.ratings is not None
    assert unvoted.ratings.raters == 10
    assert (twice.label, twice.votes and twice.votes["neutral"]) == ("neutral", 9)
    assert (conflict.label, conflict.votes, conflict.split) == (None, None, "test")
    notes = {entry.kind: str(entry) for entry in Source(str(folder)).rows() if isinstance(entry, Note)}
    assert set(notes) == {"rows without a name", "no vote for an emotion", "name twice with the same votes",
                          "name twice with other votes"}  # fmt: skip
    assert "lines 9, 10 with different votes" in notes["name twice with other votes"]


def test_emotion6_is_read_with_its_half_votes_and_its_tie(tmp_path: Path):
    folder = files.emotion6(tmp_path)
    assert layout_of(folder) == "emotion6"
    first, second = files.read(folder)
    assert first.votes == {"anger": 4, "disgust": 21, "fear": 0, "joy": 2, "sadness": 3, "surprise": 0, "neutral": 0}
    assert (first.label, first.task, first.id) == ("disgust", "Emotion6-7", "disgust/0.jpg")
    assert load_image(first.image).size == (16, 16)
    assert second.label == "joy"
    assert [entry.kind for entry in Source(str(folder)).rows() if isinstance(entry, Note)] == [
        "shares rounded to half votes"]  # fmt: skip


def test_multiemo_bench_is_a_table_of_multi_select_votes_by_twenty_raters(tmp_path: Path):
    files.put(tmp_path / "1.jpg", 1)
    path = files.lines(tmp_path / "multiemo.jsonl", [{"image": "1.jpg", "votes": {"awe": 18, "fear": 9}, "raters": 20}])
    (sample,) = files.read(path, layout="multiemo-bench")
    assert (sample.label, sample.votes, sample.split) == ("awe", {"awe": 18, "fear": 9}, "test")
    assert sample.ratings is not None
    assert (sample.ratings.kind, sample.ratings.raters) == ("multi-select", 20)
