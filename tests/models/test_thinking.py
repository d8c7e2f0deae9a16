"""Thoughts are switched within the chat template, so that whoever asks writes what training wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoProcessor
from trl.data_utils import apply_chat_template

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template, messages
from emocaliber.models.location import question_of, write_question
from emocaliber.models.thinking import asking_processor, switch_thinking
from tests.stages.families import FAMILIES, save_family

QUESTION, ANSWER = messages("?", "<answer>")
EMPTY = "<think>\n\n</think>\n\n"


def test_qwen_is_asked_with_an_empty_thought_or_to_think_and_the_last_switch_counts() -> None:
    _, processor = FAMILIES["qwen3.5"]()
    switch_thinking(processor, True)
    assert apply_chat_template({"prompt": [QUESTION]}, processor)["prompt"].endswith("assistant\n<think>\n")
    for _ in range(2):
        switch_thinking(processor, False)
    assert processor.chat_template.count("set enable_thinking") == 1
    row = apply_chat_template({"prompt": [QUESTION], "completion": [ANSWER]}, processor)
    assert row["prompt"].endswith(EMPTY)
    assert row["completion"].startswith("<answer>")


def test_an_adapter_is_asked_as_it_was_trained_and_a_saved_processor_keeps_it(tmp_path: Path) -> None:
    model, adapter = save_family("qwen3.5", tmp_path / "model"), tmp_path / "adapter"
    adapter.mkdir()
    question = question_of(
        {"t": ("a", "b")}, load_template("label"), max_pixels=None, stage="label", base="", thinking=False
    )
    write_question(adapter, question)
    asking_processor(model, adapter).save_pretrained(tmp_path / "merged")
    for processor in (asking_processor(model, adapter), AutoProcessor.from_pretrained(tmp_path / "merged")):
        assert processor.apply_chat_template([QUESTION], add_generation_prompt=True).endswith(EMPTY)
    alone = asking_processor(model, None).apply_chat_template([QUESTION], add_generation_prompt=True)
    assert alone.endswith("assistant\n<think>\n")


def test_a_template_without_thoughts_is_refused_by_the_key() -> None:
    with pytest.raises(UserError, match="thinking: the chat template of this Qwen3VLProcessor knows no thoughts"):
        switch_thinking(FAMILIES["qwen3-vl"]()[1], False)
