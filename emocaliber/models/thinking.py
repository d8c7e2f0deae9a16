"""Thoughts before the answer, on or off: what a chat template calls `enable_thinking`, said once for all that ask.

Qwen3.5's, Gemma 4's and MiniCPM-V's templates know it, with defaults of their own (Qwen3.5 thinks from 4B on). It is
set within the template, so that training, asking and an exported model's server write the same text.

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
    """Whether the chat template has thoughts to switch."""
    return SWITCH in str(processor.chat_template)


def switch_thinking(processor: Any, thinking: bool | None) -> None:
    """Let the processor's chat template ask with or without thoughts; None leaves it as it is.

    Raises UserError where the template knows none.
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
    """The processor to ask a model with, thoughts switched as the adapter's training had them.

    Raises OSError where it cannot be loaded.
    """
    processor: Any = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
    question = None if adapter is None else read_question(adapter)
    switch_thinking(processor, None if question is None else question.thinking)
    return processor
