"""Conversations of other trainers about one picture: where it is named, and which answers are labels."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emocaliber.core.images import load_image
from emocaliber.core.taxonomy import MIKELS_8
from emocaliber.data.layouts import layout_of
from tests.data import layout_files as files


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


LABELS = ["joy", "fear"]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def parts(**picture: Any) -> list[dict[str, Any]]:
    return [{"type": "image"} | picture, {"type": "text", "text": "Which?"}]


def anthropic(number: int) -> list[dict[str, Any]]:
    data = base64.b64encode(files.picture(number)).decode()
    return parts(source={"type": "base64", "media_type": "image/png", "data": data})


FORMS = {
    "no mark": lambda n, label: {"messages": [user("Which?"), said(label)], "images": [f"{n}.png"]},
    "marks of a model": lambda n, label: {
        "image": f"{n}.png",
        "conversations": [{"from": "human", "value": "<|image_pad|>Which?"}, {"from": "gpt", "value": label}],
    },
    "named in the message and beside it": lambda n, label: {
        "messages": [user(parts(image=f"{n}.png")), said(label)], "images": [f"{n}.png"]},
    "prompt and solution": lambda n, label: {"prompt": [user(parts())], "solution": label, "images": [f"{n}.png"]},
    "a source in base64": lambda n, label: {"messages": [user(anthropic(n)), said(label)]},
    "bold": lambda n, label: {"messages": [user("<image>"), said(f"**{label}**.")], "images": [f"{n}.png"]},
    "alpaca without a mark": lambda n, label: {"instruction": "Which?", "output": label, "images": [f"{n}.png"]},
}  # fmt: skip


def rows(folder: Path, form: str) -> list[dict[str, Any]]:
    for number in range(2):
        files.put(folder / f"{number}.png", number)
    return [FORMS[form](number, label) for number, label in enumerate(LABELS)]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("form", list(FORMS))
def test_each_form_is_read(tmp_path: Path, form: str):
    samples = files.read(files.lines(tmp_path / "c.jsonl", rows(tmp_path, form)))
    assert [(s.label, s.image != b"") for s in samples] == [("joy", True), ("fear", True)]


def test_a_folder_of_conversations_is_read_with_its_splits(tmp_path: Path):
    for split, row in zip(("train", "test"), rows(tmp_path, "no mark"), strict=True):
        (tmp_path / f"{split}.json").write_text(json.dumps([row]))
    assert sorted((s.split, s.label) for s in files.read(tmp_path)) == [("test", "fear"), ("train", "joy")]


def test_a_hub_folder_of_conversations_is_read(tmp_path: Path):
    pictures = [[{"bytes": files.picture(n), "path": None}] for n in range(2)]
    talks = [[user("Which?"), said(label)] for label in LABELS]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"images": pictures, "messages": talks}), tmp_path / "data/test-00000-of-00001.parquet")
    assert [s.label for s in files.read(tmp_path)] == LABELS


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("A", "answer is a letter"), ("(b)", "answer is a letter"), ("joy, fear", "answer is a sentence")],
)
def test_an_option_and_a_list_are_no_labels_until_they_are_declared(tmp_path: Path, answer: str, kind: str):
    files.put(tmp_path / "0.png", 0)
    path = files.lines(tmp_path / "c.jsonl", [{"messages": [user("<image>"), said(answer)], "images": ["0.png"]}])
    assert [problem.kind for problem in files.problems(path)] == [kind]


def test_a_preferred_answer_is_no_label(tmp_path: Path):
    files.put(tmp_path / "0.png", 0)
    row = {"prompt": [user(parts())], "chosen": [said("joy")], "rejected": [said("fear")], "images": ["0.png"]}
    assert [problem.kind for problem in files.problems(files.lines(tmp_path / "c.jsonl", [row]))] == ["preference pair"]
