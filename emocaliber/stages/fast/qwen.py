"""The modules of a Qwen-VL backbone that speed patches reach into, and an attention of one's own in its language model.

Another family is left as it is. The attentions are those of packing and prompt_sharing.

    use_attention(model, "emocaliber_packed", packed_attention, "packing is off")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate import PartialState
from peft import PeftModel
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

KNOWN = ("qwen2_5_vl", "qwen3_vl")


def is_known(model: Any) -> bool:
    """Whether the model is of the Qwen-VL family."""
    return model.config.model_type in KNOWN


def vision_holder(model: Any) -> Any:
    """The module whose `visual` is the tower, beneath any adapter, of a model of a known family."""
    return (model.get_base_model() if isinstance(model, PeftModel) else model).model


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
