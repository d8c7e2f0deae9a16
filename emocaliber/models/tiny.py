"""The tiny backbone: a Qwen2.5-VL of about two million parameters, built on the spot.

Its weights are random until `python -m scripts.tiny_world.base` has taught it to read. The architecture is the
flagship's own (`Qwen2_5_VLForConditionalGeneration`), so what trains and serves it trains and serves the flagship.

    python -m scripts.tiny_world.base --out emocaliber/data/tiny-base
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from emocaliber.models.tiny_tokenizer import IMAGE, MERGE, PATCH, VIDEO, VISION_END, VISION_START

HIDDEN = 128
TEXT_LAYERS, VISION_LAYERS = 6, 3


def tiny_config(tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
    """The configuration for a tokenizer; vocabulary padded to a multiple of 64."""

    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))  # type: ignore[arg-type]

    text = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": VISION_LAYERS,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_heads": 4,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": list(range(VISION_LAYERS)),
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token(IMAGE),
        video_token_id=token(VIDEO),
        vision_start_token_id=token(VISION_START),
        vision_end_token_id=token(VISION_END),
        tie_word_embeddings=True,
    )


def build_tiny(tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """The model with random weights.

    Matrices start at a deviation of 1/sqrt(inputs), which keeps the scale of activations through the layers; the
    library's default of 0.02 is made for much wider ones.
    """
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(tiny_config(tokenizer))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv3d):
                module.weight.normal_(std=module.weight[0].numel() ** -0.5)
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(std=module.embedding_dim**-0.5)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model
