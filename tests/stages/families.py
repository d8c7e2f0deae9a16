"""A tiny model of each supported family: its true architecture, processor and chat form, with random weights.

Their tokenizer splits numbers into digits and takes a mark and the letters after it together, as Qwen's does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
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

from emocaliber.core.prompting import LEVEL_TEXTS, load_template
from emocaliber.core.taxonomy import KAOMOJI_10
from scripts.tiny_world.backbone import CHAT_TEMPLATE, SPECIAL, build_tiny

QWEN_PIECES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
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
SMALL = {
    "hidden_size": 64,  # two heads of 32: vLLM's attention on a CPU knows none smaller
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
}
EYES = {"hidden_size": 32, "intermediate_size": 64}


def digit_tokenizer(special: dict[str, str] | None = None) -> Qwen2Tokenizer:
    """A byte-level BPE with Qwen's way of cutting text, whose merges come from the prompts and answers."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    template = load_template("label-confidence")
    texts = [template.render(KAOMOJI_10.labels), "<answer></answer><confidence></confidence>", *LEVEL_TEXTS]
    names = [*SPECIAL, *(special or {}).values()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=360, initial_alphabet=alphabet, special_tokens=names, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens([AddedToken(name, special=True) for name in names])
    tokenizer = Qwen2Tokenizer(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=special or {}
    )
    tokenizer.model_max_length = 2048
    return tokenizer


def _qwen_pixels(patch: int) -> dict[str, Any]:
    side = 2 * patch
    return {"size": {"shortest_edge": side**2, "longest_edge": 6 * side**2}, "patch_size": patch, "merge_size": 2}


def qwen25_vl() -> tuple[Any, Any]:
    tokenizer, pixels = digit_tokenizer(), _qwen_pixels(14)
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen2VLVideoProcessor(**pixels), chat_template=CHAT_TEMPLATE
    )
    return build_tiny(tokenizer), processor


def qwen3_vl() -> tuple[Any, Any]:
    tokenizer, pixels = digit_tokenizer(), _qwen_pixels(16)
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


def internvl() -> tuple[Any, Any]:
    tokenizer = digit_tokenizer(INTERNVL_SPECIAL)
    pixels = {"size": {"height": 32, "width": 32}, "crop_to_patches": True, "min_patches": 1, "max_patches": 2}
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(**pixels), tokenizer, InternVLVideoProcessor(size={"height": 32, "width": 32}),
        image_seq_length=4, chat_template=INTERNVL_CHAT,
    )  # fmt: skip
    config = InternVLConfig(
        text_config=SMALL | {"vocab_size": len(tokenizer), "model_type": "qwen2"},
        vision_config=EYES
        | {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": [32, 32], "patch_size": [8, 8]},
        image_seq_length=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
    )
    return InternVLForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2.5-vl": qwen25_vl,
    "qwen3-vl": qwen3_vl,
    "smolvlm": smolvlm,
    "internvl": internvl,
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
