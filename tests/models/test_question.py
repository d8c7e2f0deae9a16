"""An adapter's question survives the file, and a file that is not as training wrote it is refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.models.location import QUESTION_FILE, TINY_ADAPTER, question_of, read_question, write_question

QUESTION = question_of(
    {"photos": ("joy", "fear")}, load_template("label"), max_pixels=50_000, stage="label", base="some/model"
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_question(tmp_path, QUESTION)
    question = read_question(tmp_path)
    assert question == QUESTION
    assert question.template == load_template("label")


@pytest.mark.parametrize("folder", ["", "nowhere", "file/below"])
def test_an_adapter_without_the_file_has_no_question(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    assert read_question(tmp_path / folder) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": {}}, "tasks is empty"),
        ({"tasks": ["joy"]}, "Expected `object`"),
        ({"prompt": {"name": "label", "hash": "x", "prompt": "Which: {candidates}?", "answer": "{label}"}}, "edited"),
        ({"more": 1}, "more"),
    ],
)
def test_a_changed_file_is_refused_by_name(tmp_path: Path, change: dict[str, object], words: str) -> None:
    write_question(tmp_path, QUESTION)
    content = json.loads((tmp_path / QUESTION_FILE).read_text()) | change
    (tmp_path / QUESTION_FILE).write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"{QUESTION_FILE}.*{words}"):
        read_question(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_what_is_no_json_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / QUESTION_FILE).write_bytes(content)
    with pytest.raises(UserError, match=QUESTION_FILE):
        read_question(tmp_path)


def test_the_shipped_adapter_is_asked_as_its_data_is() -> None:
    question = read_question(TINY_ADAPTER)
    assert question is not None
    assert question.base == "tiny"
    for data in ("kaomoji", "emoji"):
        assert {question.tasks[sample.task] == sample.candidates for sample in load(data, "calibrate")} == {True}


def test_reading_it_loads_no_torch() -> None:
    program = "import sys, emocaliber.models.location, emocaliber.models.location; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
