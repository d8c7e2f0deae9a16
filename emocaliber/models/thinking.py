"""Thinking mode on or off: the chat template's variable `enable_thinking`.

The templates of Qwen3.5, Gemma 4 and MiniCPM-V have it, with different defaults (Qwen3.5 thinks from 4B on). It is set
in the template itself, so that training, inference and a server of the exported model produce the same text.

    switch_thinking(processor, False)           # the recipe key `thinking`
    processor = asking_processor("model", "out/1-label/adapter")
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from transformers import AutoProcessor

from emocaliber.core.errors import UserError
from emocaliber.models.location import SWITCH, read_question

_SET = re.compile(rf"\A\{{%- set {SWITCH} = (?:true|false) -%\}}\n?")


def knows_thinking(processor: Any) -> bool:
    """Whether the chat template has a thinking mode to switch."""
    return SWITCH in str(processor.chat_template)


def switch_thinking(processor: Any, thinking: bool | None) -> None:
    """Turn thinking on or off in the processor's chat template; None leaves it as it is.

    Raises UserError where the template has no thinking mode.
    """
    if thinking is None:
        return
    if not knows_thinking(processor):
        raise UserError(
            f"thinking: the chat template of this {type(processor).__name__} knows no thoughts to switch"
            f" ({SWITCH}); take the key out of the recipe"
        )
    plain = _SET.sub("", processor.chat_template)
    processor.chat_template = f"{{%- set {SWITCH} = {str(thinking).lower()} -%}}\n{plain}"


def asking_processor(model: str | Path, adapter: str | Path | None) -> Any:
    """The processor for querying a model, with the thinking mode that its adapter was trained with.

    Raises OSError where it cannot be loaded.
    """
    processor: Any = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
    question = None if adapter is None else read_question(adapter)
    switch_thinking(processor, None if question is None else question.thinking)
    return processor
