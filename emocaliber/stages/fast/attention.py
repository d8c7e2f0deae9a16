"""An attention of our own in the language model of a Qwen-VL backbone.

Not an attention: the callers bring theirs (stages.packing, stages.calibrate.shared_questions).

    python -c "from emocaliber.stages.fast.attention import use_attention; help(use_attention)"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate import PartialState
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from emocaliber.stages.fast.frozen_vision import is_known, vision_holder


def use_attention(model: Any, name: str, attention: Callable[..., Any], otherwise: str) -> bool:
    """Let a model of the Qwen-VL family attend by `attention`, known to transformers as `name`, with sdpa's masks.

    Another is left alone: `otherwise` is said with the reason in a line, and False.
    """
    if not is_known(model):
        PartialState().print(f"  {otherwise}: {model.config.model_type} is not of the Qwen-VL family", flush=True)
        return False
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    vision_holder(model).language_model.config._attn_implementation = name
    return True
