"""How many tokens the largest picture takes that a recipe lets through.

image_tokens(recipe, configuration(recipe))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image
from transformers import AutoProcessor

from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.prompting import messages
from emocaliber.models.location import model_folder
from emocaliber.stages.recipe import Recipe

DEFAULT_PIXELS = SHOWN_PIXELS
"""Where a recipe names no limit: whatever the processor would take (12,845,056 as Qwen publishes it), pictures are made
as small as this before it sees them."""
CELLS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")


def image_tokens(recipe: Recipe, config: Any) -> int:
    """By the family's rule, as its processor is published; of another family by asking the processor itself.

    Raises UserError where that is not to be found either.
    """
    if config.model_type in CELLS:
        cell = _side(config.vision_config.patch_size) * config.vision_config.spatial_merge_size
        return int((recipe.max_pixels or DEFAULT_PIXELS) // cell**2)
    if (rule := FIXED.get(config.model_type)) is not None:
        return rule(config)
    return counted_tokens(model_folder(recipe.model), config)


def counted_tokens(model: str, config: Any) -> int:
    """The tokens that the model's processor makes of a picture as large as any that it is shown."""
    try:
        processor: Any = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{model}: how many tokens a picture takes is not known of {config.model_type}, and its processor cannot be"
            f" loaded ({str(error).strip().splitlines()[0]})"
        ) from error
    side = int(DEFAULT_PIXELS**0.5)
    text = processor.apply_chat_template(messages("?"), tokenize=False, add_generation_prompt=True)
    encoded = processor(text=[text], images=[[Image.new("RGB", (side, side))]])
    token = getattr(config, "image_token_id", None) or getattr(config, "image_token_index", None)
    return sum(each == token for each in encoded["input_ids"][0])


def _side(size: Any) -> int:
    return size if isinstance(size, int) else int(size[0])


def _smolvlm(config: Any) -> int:
    """Sixteen tiles and the whole picture."""
    vision = config.vision_config
    return int(17 * (_side(vision.image_size) // _side(vision.patch_size) // config.scale_factor) ** 2)


def _internvl(config: Any) -> int:
    """Twelve tiles and the whole picture."""
    vision = config.vision_config
    return int(13 * (_side(vision.image_size) // _side(vision.patch_size) * config.downsample_ratio) ** 2)


def _lfm2_vl(config: Any) -> int:
    """Ten tiles of 512 x 512 pixels and the whole picture."""
    return int(11 * (512 // _side(config.vision_config.patch_size) // config.downsample_factor) ** 2)


def _minicpm_v(config: Any) -> int:
    """Nine slices of 448 x 448 pixels and the whole picture; patches are merged twice, by 2 x 2 each time."""
    return int(10 * (448 // _side(config.vision_config.patch_size) // 4) ** 2)


def _gemma4(config: Any) -> int:
    """Its processor's `max_soft_tokens`, whatever the picture's size."""
    return 280


FIXED: dict[str, Callable[[Any], int]] = {
    "smolvlm": _smolvlm,
    "internvl": _internvl,
    "lfm2_vl": _lfm2_vl,
    "minicpmv4_6": _minicpm_v,
    "gemma4": _gemma4,
}
