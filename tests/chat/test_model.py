"""The options of `ask` and `chat` say which model is asked what, and which record is quoted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emocaliber.chat.record import FILE, Record, read_record
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import State
from emocaliber.core.prompting import load_template
from emocaliber.core.taxonomy import KAOMOJI_10, MIKELS_8
from emocaliber.models.location import QUESTION_FILE, TINY_ADAPTER, TINY_NOTE, question_of, write_question
from emocaliber.reading import REASONING_TAGS, read_response
from tests.chat.conftest import choice_of


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A stage-1 adapter on the tiny base that was trained on photographs of mugs, with a record."""
    folder = tmp_path / "adapter"
    shutil.copytree(TINY_ADAPTER, folder)
    question = question_of(
        {"mugs": ("full", "empty")}, load_template("label"), max_pixels=50_000, stage="label", base="tiny"
    )
    write_question(folder, question)
    return folder


def test_without_options_the_tiny_model_is_asked_what_it_was_trained_on():
    choice = choice_of()
    assert (choice.model, choice.note) == (None, TINY_NOTE)
    assert choice.template == load_template("label-confidence")
    assert choice.labels == KAOMOJI_10.labels
    assert choice.tasks == ("kaomoji", "emoji")
    assert choice.record == read_record(TINY_ADAPTER / FILE)
    assert not choice.record_is_vouched_for


def test_the_environments_adapter_answers_where_nothing_else_is_named(adapter: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMOCALIBER_MODEL", str(adapter))
    assert choice_of() == choice_of("--adapter", str(adapter))
    assert choice_of("--model", "tiny").adapter is None


def test_a_models_folder_brings_its_own_question(adapter: Path, tmp_path: Path):
    model = tmp_path / "merged"
    model.mkdir()
    (model / "config.json").write_text("{}")
    shutil.copy(adapter / QUESTION_FILE, model)
    choice = choice_of("--model", str(model))
    assert choice.labels == ("full", "empty")
    assert choice.template == load_template("label")


def test_an_adapter_brings_labels_prompt_base_and_record(adapter: Path):
    choice = choice_of("--adapter", str(adapter))
    assert (choice.model, choice.labels) == ("tiny", ("full", "empty"))
    assert choice.template == load_template("label")
    assert choice.record == read_record(adapter / FILE)
    assert choice.max_pixels == 50_000
    assert choice.title == "tiny with adapter"
    assert next(iter(choice.label_sets)) == "mugs"


def test_options_come_before_what_the_adapter_says(adapter: Path):
    choice = choice_of(
        "--adapter", str(adapter), "--labels", "joy, awe", "--template", "label-confidence", "--max-pixels", "9"
    )
    assert choice.labels == ("joy", "awe")
    assert choice.max_pixels == 9
    assert choice.template == load_template("label-confidence")


def test_a_record_measured_with_another_prompt_is_not_quoted(adapter: Path):
    assert choice_of("--adapter", str(adapter), "--template", "top-1").record == Record()


def test_a_record_that_the_user_names_is_vouched_for(adapter: Path):
    choice = choice_of("--adapter", str(adapter), "--calibration", str(TINY_ADAPTER / FILE), "--template", "top-1")
    assert choice.record == read_record(TINY_ADAPTER / FILE)
    assert choice.record_is_vouched_for


def test_a_model_without_an_adapter_is_asked_for_mikels_emotions():
    choice = choice_of("--model", "some/model")
    assert (choice.labels, choice.template.name, choice.record) == (MIKELS_8.labels, "label-confidence", Record())


@pytest.mark.parametrize(
    ("text", "labels"),
    [("emoji", ("negative", "neutral", "positive")), ("mikels-8", MIKELS_8.labels), ("a, b;c", ("a", "b", "c"))],
)
def test_labels_are_a_task_a_taxonomy_or_a_list(text: str, labels: tuple[str, ...]):
    assert choice_of("--labels", text).labels == labels


def test_a_servers_model_is_asked_what_its_adapter_was_trained_on(adapter: Path):
    choice = choice_of("--server", "http://127.0.0.1:9", "--model", "tuned", "--adapter", str(adapter))
    assert (choice.model, choice.labels, choice.template.name) == ("tuned", ("full", "empty"), "label")
    assert choice.max_new_tokens == 512


def test_a_servers_key_comes_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    choice = choice_of("--server", "http://127.0.0.1:9", "--model", "m", "--api-key-env", "MY_KEY")
    with pytest.raises(UserError, match="--api-key-env MY_KEY: the environment has no such variable"):
        choice.load()


def test_reasoning_in_tags_that_the_options_name_is_no_answer():
    text = "<musing>Emotion: sad. Confidence: 0.9</musing>Emotion: happy. Confidence: 0.8"
    tags = ("<musing>", "</musing>")
    assert tags not in REASONING_TAGS
    choice_of("--reasoning-tags", *tags)
    try:
        assert tags in REASONING_TAGS
        assert read_response(text.partition("</")[0], ["sad", "happy"]).state == State.MISSING_LABEL
        assert read_response(text, ["sad", "happy"]).confidence == 0.8
    finally:
        REASONING_TAGS.remove(tags)


def test_a_base_that_is_gone_is_said_with_the_file_that_names_it(adapter: Path):
    content = json.loads((adapter / QUESTION_FILE).read_text()) | {"base": "/nowhere/model"}
    (adapter / QUESTION_FILE).write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"{QUESTION_FILE}: give --model.*/nowhere"):
        choice_of("--adapter", str(adapter))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--template", "self-report-confidence"], "a second question"),
        (["--labels", "joy"], "list labels"),
        (["--tokenizer", "/nowhere"], "--tokenizer /nowhere: no such folder"),
    ],
)
def test_options_that_cannot_be_are_refused(options: list[str], words: str):
    with pytest.raises(UserError, match=words):
        choice_of(*options)
