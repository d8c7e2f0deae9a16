"""VECBench and VEC-CoT are read as published: tasks, stages, candidates and rationales."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.images import load_image
from emocaliber.core.taxonomy import UNBIASEDEMO_6
from emocaliber.data.layouts import Source, layout_of
from emocaliber.data.parquet import read_samples
from emocaliber.data.rows import Note
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
