"""The modules of a backbone that speed patches reach into, and an attention of one's own in its language model.

Known are the Qwen-VL family, whose rotary places are three-dimensional, and families with plain rotary places, where a
token's place is its number in its row. Another is left as it is. The attentions are those of packing and
prompt_sharing.

    use_attention(model, "emocaliber_packed", packed_attention, QWEN, "packing is off")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelerate import PartialState
from peft import PeftModel
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

QWEN = ("qwen2_5_vl", "qwen3_vl")
PLAIN = ("internvl", "smolvlm", "idefics3")


def is_qwen(model: Any) -> bool:
    """Whether the model is of the Qwen-VL family."""
    return model.config.model_type in QWEN


def vision_holder(model: Any) -> Any:
    """The module that holds vision tower and language model, beneath any adapter."""
    return (model.get_base_model() if isinstance(model, PeftModel) else model).model


def language_model(model: Any) -> Any:
    """The language model without its head, beneath any adapter, of a model of a known family."""
    holder = vision_holder(model)
    return holder.text_model if model.config.model_type in ("smolvlm", "idefics3") else holder.language_model


def image_token(model: Any) -> int:
    """The token that stands where a picture's features go."""
    return int(model.config.image_token_id)


def use_attention(
    model: Any, name: str, attention: Callable[..., Any], families: Sequence[str], otherwise: str
) -> bool:
    """Let a model of one of the families attend by `attention`, known to transformers as `name`, with sdpa's masks.

    Another is left alone: `otherwise` is said with the reason in a line, and False.
    """
    if model.config.model_type not in families:
        PartialState().print(f"  {otherwise}: {model.config.model_type} is not among {', '.join(families)}", flush=True)
        return False
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    language_model(model).config._attn_implementation = name
    return True
