"""Model families that the speed patches know, the modules that they patch, and how they install custom attention.

Known are the Qwen-VL family and Qwen3.5, whose rotary position ids are three-dimensional, and families whose position
ids count the tokens of a row. Packing refuses other families; prompt sharing leaves them unpatched.

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
"""Qwen-VL models in which every layer is an attention layer."""
THREE_DIMENSIONAL = (*QWEN, "qwen3_5")
PLAIN = ("internvl", "smolvlm", "idefics3", "lfm2_vl", "minicpmv4_6")
PACKED = (*THREE_DIMENSIONAL, *PLAIN)
"""Families (`model_type`) whose batches can be packed: see fast.packing."""


def is_qwen(model: Any) -> bool:
    """Whether the model is of the Qwen-VL family or Qwen3.5."""
    return model.config.model_type in THREE_DIMENSIONAL


def vision_holder(model: Any) -> Any:
    """The module that contains vision tower and language model, inside any PEFT wrapper."""
    return (model.get_base_model() if isinstance(model, PeftModel) else model).model


def language_model(model: Any) -> Any:
    """The language model without its head, inside any PEFT wrapper; for known families only."""
    holder = vision_holder(model)
    return holder.text_model if model.config.model_type in ("smolvlm", "idefics3") else holder.language_model


def image_token(model: Any) -> int:
    """The id of the placeholder token for a picture's features."""
    return int(model.config.image_token_id)


def refuse_packing(family: str, path: Path | str = "") -> None:
    """Raises UserError where packed rows of the family (`model_type`) would see each other."""
    if family not in PACKED:
        where = f"{path}: " if path else ""
        raise UserError(
            f"{where}packing: rows of {family} cannot be kept apart in one line (known: {', '.join(PACKED)}); take the"
            " key out, and give train_sampling_strategy: group_by_length"
        )


WITHOUT_DRAWS = ("minicpmv4_6", "minicpmv4_7")
"""Families whose vision tower needs an input that TRL's GRPO and RLOO trainers do not pass on (`target_sizes`)."""


def refuse_drawing(family: str, path: Path | str = "") -> None:
    """Raises UserError where GRPO and RLOO cannot pass pictures to a model of the family (`model_type`)."""
    if family in WITHOUT_DRAWS:
        where = f"{path}: " if path else ""
        raise UserError(
            f"{where}method: TRL's GRPO and RLOO do not pass on what {family}'s vision tower needs (target_sizes); give"
            " method: proper"
        )


def use_attention(model: Any, name: str, attention: Callable[..., Any]) -> None:
    """Register `attention` with transformers as `name`, with SDPA's masks, and make the language model use it."""
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    language_model(model).config._attn_implementation = name
