"""A tiny model of each supported family: its true architecture, processor and chat form, with random weights.

Their tokenizer splits numbers into digits and takes a mark and the letters after it together, as Qwen's does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

from scripts.tiny_world.backbone import CHAT_TEMPLATE, build_tiny
from tests.stages.family_parts import EYES, SMALL, digit_tokenizer, qwen_pixels
from tests.stages.hybrid_families import gemma4, lfm2_vl, minicpm_v, qwen3_5

SMOLVLM_SPECIAL = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "end_of_utterance_token": "<end_of_utterance>",
    "global_image_token": "<global-img>",
    "video_token": "<video>",
}
INTERNVL_SPECIAL = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
SMOLVLM_CHAT = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
INTERNVL_CHAT = CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>\n")


def qwen25_vl() -> tuple[Any, Any]:
    tokenizer, pixels = digit_tokenizer(), qwen_pixels(14)
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen2VLVideoProcessor(**pixels), chat_template=CHAT_TEMPLATE
    )
    return build_tiny(tokenizer), processor


def qwen3_vl() -> tuple[Any, Any]:
    tokenizer, pixels = digit_tokenizer(), qwen_pixels(16)
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen3VLVideoProcessor(**pixels), chat_template=CHAT_TEMPLATE
    )
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [8, 4, 4], "mrope_interleaved": True}
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config=SMALL | {"vocab_size": len(tokenizer), "head_dim": 32, "rope_parameters": rope},
        vision_config=EYES
        | {"depth": 3, "num_heads": 2, "out_hidden_size": 64, "deepstack_visual_indexes": [0, 1], "patch_size": 16}
        | {"num_position_embeddings": 64},
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return Qwen3VLForConditionalGeneration(config), processor


def smolvlm() -> tuple[Any, Any]:
    tokenizer = digit_tokenizer(SMOLVLM_SPECIAL)
    cut = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(**cut), tokenizer, SmolVLMVideoProcessor(**cut),
        image_seq_len=4, chat_template=SMOLVLM_CHAT,
    )  # fmt: skip
    config = SmolVLMConfig(
        text_config=SMALL | {"vocab_size": len(tokenizer), "model_type": "llama"},
        vision_config=EYES | {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    return SmolVLMForConditionalGeneration(config), processor


def internvl(text: dict[str, Any] | None = None) -> tuple[Any, Any]:
    tokenizer = digit_tokenizer(INTERNVL_SPECIAL)
    pixels = {"size": {"height": 32, "width": 32}, "crop_to_patches": True, "min_patches": 1, "max_patches": 2}
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(**pixels), tokenizer, InternVLVideoProcessor(size={"height": 32, "width": 32}),
        image_seq_length=4, chat_template=INTERNVL_CHAT,
    )  # fmt: skip
    config = InternVLConfig(
        text_config=SMALL | {"vocab_size": len(tokenizer)} | (text or {"model_type": "qwen2"}),
        vision_config=EYES
        | {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": [32, 32], "patch_size": [8, 8]},
        image_seq_length=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
    )
    return InternVLForConditionalGeneration(config), processor


def internvl3_5() -> tuple[Any, Any]:
    """With Qwen3's language model, whose queries and keys have norms."""
    return internvl({"model_type": "qwen3", "head_dim": 32})


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2.5-vl": qwen25_vl,
    "qwen3-vl": qwen3_vl,
    "smolvlm": smolvlm,
    "internvl": internvl,
    "internvl3.5": internvl3_5,
    "qwen3.5": qwen3_5,
    "minicpm-v": minicpm_v,
    "lfm2-vl": lfm2_vl,
    "gemma-4": gemma4,
}


def save_family(name: str, folder: Path) -> Path:
    """A model folder of the family, as one from the hub would lie on disk; the same weights every time."""
    torch.manual_seed(0)
    model, processor = FAMILIES[name]()
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
