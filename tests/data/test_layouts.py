"""Every layout of the field is recognised and read as published."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.images import load_image
from emocaliber.core.taxonomy import MIKELS_8, UNBIASEDEMO_6
from emocaliber.data.layouts import Source, layout_of
from emocaliber.data.parquet import read_samples
from emocaliber.data.rows import Note
from emocaliber.data.votes import distribution
from tests.data import layout_files as files


def test_vecbench_is_read_with_its_own_candidates_and_either_spelling_of_its_tasks(tmp_path: Path):
    path = files.vecbench(tmp_path)
    assert layout_of(path) == "vecbench"
    first, second, third = files.read(path)
    assert (first.label, first.candidates, first.task, first.split) == ("Awe", tuple(files.CANDIDATES), "FI-8", "test")
    assert second.label == "Contentment"
    assert (third.task, third.candidates) == ("UnbiasedEmo-6", UNBIASEDEMO_6.labels)
    assert [load_image(sample.image).size for sample in (first, second, third)] == [(16, 16)] * 3


@pytest.mark.parametrize(
    ("name", "split"),
    [("stage1_86k", "train"), ("stage2_43k_w_conf", "verbalize"), ("stage3_14k", "calibrate"), ("test_8k", "test")],
)
def test_each_stage_has_its_split_and_what_stage_3_is_taught_with_is_what_we_calibrate_on(
    tmp_path: Path, name: str, split: str
):
    files.put(tmp_path / "0.jpg", 0)
    path = files.lines(tmp_path / f"{name}.jsonl", [files.vecbench_row("0.jpg")])
    assert [sample.split for sample in files.read(path)] == [split]


def test_the_reasoning_of_vec_cot_is_its_rationale_and_that_of_another_answer_is_none(tmp_path: Path):
    files.put(tmp_path / "0.jpg", 0)
    rows = [files.reasoned_row("0.jpg"), files.reasoned_row("0.jpg", answer="Fear"), files.vecbench_row("0.jpg")]
    path = files.lines(tmp_path / "stage2_43k_w_conf.jsonl", rows)
    assert [sample.rationale for sample in files.read(path)] == [files.STEPS, None, None]
    (note,) = (entry for entry in Source(str(path)).rows() if isinstance(entry, Note))
    assert (note.kind, note.place.line) == ("rationale of another answer", 2)
    assert "answers 'Fear', not 'Awe'" in note.what


def test_a_rationale_is_read_of_a_column_too_and_may_not_hide_the_answer(tmp_path: Path):
    files.put(tmp_path / "0.png", 0)
    row = {"image": "0.png", "label": "joy", "candidates": ["joy", "fear"]}
    said = ["They smile.", "<think>They smile.</think>", "", "They smile.<|im_end|>"]
    path = files.lines(tmp_path / "t.jsonl", [row | {"id": text, "Rationale": text} for text in said])
    (problem,) = files.problems(path)
    assert (problem.kind, problem.key) == ("rationale malformed", "rationale")
    files.lines(path, [row | {"id": text, "Rationale": text} for text in said[:3]])
    assert [sample.rationale for sample in files.read(path)] == ["They smile.", "They smile.", None]


def test_emobservers_copy_of_vecbench_is_read(tmp_path: Path):
    files.put(tmp_path / "0.jpg", 0)
    other = {"candidates": files.CANDIDATES, "task": "EmoSet-8"}
    row = {"image_path": "0.jpg", "prompt": "Which?", "ground_truth": "Fear", "other_info": other}
    (tmp_path / "test.json").write_text(json.dumps({"emoset-17": row}))
    (sample,) = files.read(tmp_path / "test.json")
    assert (sample.id, sample.label, sample.task) == ("emoset-17", "Fear", "EmoSet-8")


def test_ms_swift_is_read_with_the_labels_that_its_answers_name(tmp_path: Path):
    path = files.swift(tmp_path)
    assert layout_of(path) == "ms-swift"
    first, second = files.read(path)
    assert (first.label, second.label, first.candidates) == ("awe", "fear", ("awe", "fear"))


def test_an_answer_with_reasoning_is_read_as_every_answer_is(tmp_path: Path):
    path = files.swift(tmp_path)
    row = json.loads(path.read_text().splitlines()[0])
    row["messages"][-1]["content"] = "<think>no fear here</think><answer>awe</answer>"
    files.lines(path, [row])
    sample = files.read(path, taxonomy=MIKELS_8)[0]
    assert (sample.label, sample.rationale) == ("awe", "no fear here")
    files.lines(path, [row, row | {"messages": [*row["messages"][:1], {"role": "assistant", "content": "fear"}]}])
    assert [sample.label for sample in files.read(path)] == ["awe", "fear"], "the labels that the answers name"


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


ANSWER = {"role": "assistant", "content": "awe"}
PARTS = [{"type": "image"}, {"type": "text", "text": "Which emotion?"}]
CONVERSATIONS = {
    "trl": {"images": ["0.png"], "messages": [{"role": "user", "content": PARTS}, ANSWER]},
    "trl answer in parts": {"image": "0.png", "messages": [
        {"role": "user", "content": PARTS}, {"role": "assistant", "content": [{"type": "text", "text": "awe"}]}]},
    "trl prompt and completion": {"images": ["0.png"], "prompt": [{"role": "user", "content": PARTS}],
                                  "completion": [ANSWER]},
    "picture in the message": {"messages": [
        {"role": "user", "content": [{"type": "image", "image": "0.png"}, PARTS[1]]}, ANSWER]},
    "OpenAI's image_url": {"messages": [
        {"role": "user", "content": [PARTS[1], {"type": "image_url", "image_url": {"url": "0.png"}}]}, ANSWER]},
    "llava": {"id": "7", "image": "0.png", "conversations": [
        {"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "awe"}]},
    "sharegpt": {"images": ["0.png"], "conversations": [
        {"from": "human", "value": "<image>Which?"}, {"from": "gpt", "value": "awe"}]},
    "alpaca": {"instruction": "<image>Which?", "input": "", "output": "awe", "images": ["0.png"]},
    "ms-swift's solution": {"messages": [{"role": "user", "content": "<image>Which?"}], "solution": "awe",
                            "images": ["0.png"]},
    "ms-swift's mapping": {"messages": [{"role": "user", "content": "<image>Which?"}, ANSWER],
                           "images": [{"path": "0.png", "bytes": None}]},
}  # fmt: skip


@pytest.mark.parametrize("form", CONVERSATIONS)
def test_the_conversations_of_other_trainers_are_read(form: str, tmp_path: Path):
    files.put(tmp_path / "0.png", 0)
    path = files.lines(tmp_path / "t.jsonl", [CONVERSATIONS[form]])
    assert layout_of(path) == {"ms": "ms-swift", "pi": "trl", "Op": "trl"}.get(form[:2], form.split(maxsplit=1)[0])
    (sample,) = files.read(path)
    assert sample.label == "awe"
    assert load_image(sample.image).size == (16, 16)


def test_an_answer_that_is_a_sentence_is_no_label_until_the_labels_are_declared(tmp_path: Path):
    files.put(tmp_path / "0.png", 0)
    said = [
        {"from": "human", "value": "<image>"},
        {"from": "gpt", "value": "This image would evoke <answer>awe</answer>"},
    ]
    path = files.lines(tmp_path / "t.jsonl", [{"image": "0.png", "conversations": said}])
    (problem,) = files.problems(path)
    assert (problem.kind, "--labels" in problem.fix) == ("answer is a sentence", True)
    assert files.read(path, labels="awe,fear")[0].label == "awe"


def test_a_picture_in_several_tasks_is_one_cluster(tmp_path: Path):
    files.put(tmp_path / "0.jpg", 0)
    second = {"task": "FI-2", "candidates": ["positive", "negative"]}
    rows = [files.vecbench_row("0.jpg"), files.vecbench_row("0.jpg", "positive", **second)]
    files.lines(tmp_path / "stage1_86k.jsonl", rows[:1])
    files.lines(tmp_path / "test_8k.jsonl", rows[1:])
    assert layout_of(tmp_path) == "vecbench"
    samples = files.read(tmp_path)
    assert [(s.task, s.split, s.cluster) for s in samples] == [("FI-8", "train", "0.jpg"), ("FI-2", "test", "0.jpg")]


def test_vec_cot_is_one_file_whose_stages_are_splits_and_a_picture_of_two_stages_is_left_to_the_later(tmp_path: Path):
    """A picture in two tasks of one stage, one in two that are taught, and one in stages 2 and 3."""
    for number in range(4):
        files.put(tmp_path / "cot" / f"{number}.jpg", number)
    second = {"task": "FI-2", "candidates": ["Positive", "Negative"]}
    other = files.reasoned_row("0.jpg", "Positive", **second)
    files.lines(tmp_path / "cot" / "stage1_86k.jsonl", [files.reasoned_row("0.jpg"), other])
    rows = [files.reasoned_row("0.jpg", "Positive", **second, id="known"), files.reasoned_row("1.jpg", id="shared")]
    files.lines(tmp_path / "cot" / "stage2_43k_w_conf.jsonl", rows)
    files.lines(tmp_path / "cot" / "stage3_14k.jsonl", [files.reasoned_row("1.jpg"), files.reasoned_row("2.jpg")])
    files.lines(tmp_path / "cot" / "test_8k.jsonl", [files.vecbench_row("3.jpg")])
    convert = ["data", "convert", str(tmp_path / "cot"), "--out", str(tmp_path / "cot.parquet")]
    assert main([*convert, "--drop-problems", "--max-dropped", "0.2"]) == 0
    samples = read_samples(tmp_path / "cot.parquet")
    assert Counter(sample.split for sample in samples) == {"train": 2, "verbalize": 1, "calibrate": 2, "test": 1}
    assert [sample.id for sample in samples if sample.split == "verbalize"] == ["known"]
    assert {sample.cluster for sample in samples if sample.task == "FI-2"} == {"0.jpg"}
    assert [sample.rationale for sample in samples] == [files.STEPS] * 5 + [None]


def test_multiemo_bench_is_a_table_of_multi_select_votes_by_twenty_raters(tmp_path: Path):
    files.put(tmp_path / "1.jpg", 1)
    path = files.lines(tmp_path / "multiemo.jsonl", [{"image": "1.jpg", "votes": {"awe": 18, "fear": 9}, "raters": 20}])
    (sample,) = files.read(path, layout="multiemo-bench")
    assert (sample.label, sample.votes, sample.split) == ("awe", {"awe": 18, "fear": 9}, "test")
    assert sample.ratings is not None
    assert (sample.ratings.kind, sample.ratings.raters) == ("multi-select", 20)


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


@pytest.mark.parametrize(
    "answer", ["The emotion is joy.", '{"emotion": "joy"}', "<answer>joy</answer>", "It shows a joyful child at play"]
)
def test_an_answer_that_is_no_label_is_asked_about(tmp_path: Path, answer: str):
    files.put(tmp_path / "a.png", 1)
    turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": answer}]
    (problem,) = files.problems(files.lines(tmp_path / "t.jsonl", [{"image": "a.png", "conversations": turns}]))
    assert problem.kind == "answer is a sentence"


@pytest.mark.parametrize("keys", [("query", "response"), ("question", "answer")])
def test_a_question_and_its_answer_is_a_conversation(tmp_path: Path, keys: tuple[str, str]):
    rows = [
        {"image": files.put(tmp_path / f"{label}.png", n).name, keys[0]: "Which emotion?", keys[1]: f"{label}."}
        for n, label in enumerate(("Joy", "fear"))
    ]
    assert [s.label for s in files.read(files.lines(tmp_path / "t.jsonl", rows))] == ["Joy", "fear"]
