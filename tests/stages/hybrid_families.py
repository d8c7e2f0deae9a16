"""Tiny models of the families of 2026, as in `families`: Qwen3.5, MiniCPM-V 4.6, LFM2.5-VL, Gemma 4.

Each has both kinds of layers that its language model mixes. The chat templates are the published ones, as TRL ships
them.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from transformers import (
    Gemma4AudioFeatureExtractor,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4ImageProcessor,
    Gemma4Processor,
    Gemma4VideoProcessor,
    Lfm2VlConfig,
    Lfm2VlForConditionalGeneration,
    Lfm2VlImageProcessor,
    Lfm2VlProcessor,
    MiniCPMV4_6Config,
    MiniCPMV4_6ForConditionalGeneration,
    MiniCPMV4_6ImageProcessor,
    MiniCPMV4_6Processor,
    MiniCPMV4_6VideoProcessor,
    Qwen2VLImageProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from tests.stages.family_parts import EYES, SMALL, digit_tokenizer, qwen_pixels

MINICPM_SPECIAL = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}
LFM2_SPECIAL = {
    "image_token": "<image>",
    "image_start_token": "<|image_start|>",
    "image_end_token": "<|image_end|>",
    "image_thumbnail_token": "<|img_thumbnail|>",
}
GEMMA_SPECIAL = {
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
    "turn_start": "<|turn>",
    "turn_end": "<turn|>",
}
DELTA = {  # one Gated DeltaNet layer, one of attention
    "head_dim": 32,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 32,  # vLLM's kernel on a CPU knows multiples of 32
    "linear_value_head_dim": 32,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
        "partial_rotary_factor": 0.25,
    },
}


def published(template: str) -> str:
    """A chat template that TRL ships."""
    return files("trl").joinpath("chat_templates", f"{template}.jinja").read_text()


def qwen3_5() -> tuple[Any, Any]:
    tokenizer, pixels = digit_tokenizer(), qwen_pixels(16)
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(**pixels),
        tokenizer,
        Qwen3VLVideoProcessor(**pixels),
        chat_template=published("qwen3_5_think"),
    )
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen3_5Config(
        text_config=SMALL | DELTA | {"vocab_size": len(tokenizer)},
        vision_config=EYES
        | {"depth": 2, "num_heads": 2, "out_hidden_size": 64, "patch_size": 16, "num_position_embeddings": 64},
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return Qwen3_5ForConditionalGeneration(config), processor


def minicpm_v() -> tuple[Any, Any]:
    tokenizer = digit_tokenizer(MINICPM_SPECIAL)
    cut = {"scale_resolution": 64, "max_slice_nums": 2, "patch_size": 8}
    chat = published("qwen3_5_nothink").replace("<|vision_start|><|image_pad|><|vision_end|>", "<|image_pad|>")
    processor = MiniCPMV4_6Processor(
        MiniCPMV4_6ImageProcessor(**cut), MiniCPMV4_6VideoProcessor(**cut), tokenizer, chat_template=chat
    )
    config = MiniCPMV4_6Config(
        text_config=SMALL | DELTA | {"vocab_size": len(tokenizer), "model_type": "qwen3_5_text"},
        vision_config=EYES | {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64, "patch_size": 8},
        insert_layer_id=0,
        image_size=64,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
    )
    return MiniCPMV4_6ForConditionalGeneration(config), processor


def lfm2_vl() -> tuple[Any, Any]:
    rows = {f"tile_{row}_{column}": f"<|img_row_{row}_col_{column}|>" for row in (1, 2) for column in (1, 2)}
    tokenizer = digit_tokenizer(LFM2_SPECIAL | rows)
    tokenizer.bos_token = "<|endoftext|>"  # the published template begins with it
    pixels = {"encoder_patch_size": 8, "tile_size": 64, "min_image_tokens": 4, "max_image_tokens": 16, "max_tiles": 2}
    processor = Lfm2VlProcessor(Lfm2VlImageProcessor(**pixels), tokenizer, chat_template=published("lfm2_2_5_vl"))
    config = Lfm2VlConfig(
        text_config=SMALL
        | {"vocab_size": len(tokenizer), "model_type": "lfm2", "layer_types": ["conv", "full_attention"]}
        | {"conv_dim": 64, "block_dim": 64},  # of the published files; vLLM reads them
        vision_config=EYES
        | {"num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8, "num_patches": 64}
        | {"model_type": "siglip2_vision_model"},
        projector_hidden_size=64,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return Lfm2VlForConditionalGeneration(config), processor


def gemma4() -> tuple[Any, Any]:
    tokenizer = digit_tokenizer(GEMMA_SPECIAL, end="<turn|>")
    tokenizer.bos_token = "<|endoftext|>"
    pixels = {"patch_size": 8, "max_soft_tokens": 70, "pooling_kernel_size": 3}
    processor = Gemma4Processor(
        Gemma4AudioFeatureExtractor(),
        Gemma4ImageProcessor(**pixels),
        tokenizer,
        Gemma4VideoProcessor(**pixels),
        chat_template=published("gemma4_v5"),
        image_seq_length=70,
    )
    ids = tokenizer.convert_tokens_to_ids
    config = Gemma4Config(
        text_config=SMALL
        | {"vocab_size": len(tokenizer), "vocab_size_per_layer_input": len(tokenizer), "num_hidden_layers": 4}
        | {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_kv_shared_layers": 2}
        | {"head_dim": 32, "global_head_dim": 32, "hidden_size_per_layer_input": 16, "use_double_wide_mlp": True},
        vision_config=EYES
        | {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
        | {"patch_size": 8, "position_embedding_size": 128, "default_output_length": 70},
        audio_config=None,
        image_token_id=ids("<|image|>"),
        boi_token_id=ids("<|image>"),
        eoi_token_id=ids("<image|>"),
        audio_token_id=ids("<|audio|>"),
        video_token_id=ids("<|video|>"),
    )
    return Gemma4ForConditionalGeneration(config), processor
