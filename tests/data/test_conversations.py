"""Conversations of other trainers about one picture: where it is named, and which answers are labels."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import layout_files as files

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
