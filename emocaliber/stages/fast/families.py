"""The modules of a backbone that speed patches reach into, and an attention of one's own in its language model.

Known are the Qwen-VL family and Qwen3.5, whose rotary places are three-dimensional, and families with plain rotary
places, where a token's place is its number in its row. Another is refused for packing, and left as it is for sharing.
The attentions are those of packing and prompt_sharing.

    use_attention(model, "emocaliber_shared", shared_attention)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from emocaliber.core.errors import UserError

QWEN = ("qwen2_5_vl", "qwen3_vl")
"""All of whose layers mix by attention."""
THREE_DIMENSIONAL = (*QWEN, "qwen3_5")
PLAIN = ("internvl", "smolvlm", "idefics3", "lfm2_vl", "minicpmv4_6")
PACKED = (*THREE_DIMENSIONAL, *PLAIN)
"""Families whose batches can be packed: see fast.packing."""


def is_qwen(model: Any) -> bool:
    """Whether the model is of the Qwen-VL family or Qwen3.5."""
    return model.config.model_type in THREE_DIMENSIONAL


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


def refuse_packing(family: str, path: Path | str = "") -> None:
    """Raises UserError where batches of the family (`model_type`) cannot be packed without a row seeing another."""
    if family not in PACKED:
        where = f"{path}: " if path else ""
        raise UserError(
            f"{where}packing: rows of {family} cannot be kept apart in one line (known: {', '.join(PACKED)}); take the"
            " key out, and give train_sampling_strategy: group_by_length"
        )


WITHOUT_DRAWS = ("minicpmv4_6", "minicpmv4_7")
"""Families whose vision tower takes what TRL's GRPO and RLOO trainers do not hand on (`target_sizes`)."""


def refuse_drawing(family: str, path: Path | str = "") -> None:
    """Raises UserError where GRPO and RLOO cannot show a model of the family (`model_type`) its pictures."""
    if family in WITHOUT_DRAWS:
        where = f"{path}: " if path else ""
        raise UserError(
            f"{where}method: TRL's GRPO and RLOO do not hand on what {family}'s vision tower needs (target_sizes); give"
            " method: proper"
        )


def use_attention(model: Any, name: str, attention: Callable[..., Any]) -> None:
    """Let a model of a known family attend by `attention`, known to transformers as `name`, with sdpa's masks."""
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    language_model(model).config._attn_implementation = name
