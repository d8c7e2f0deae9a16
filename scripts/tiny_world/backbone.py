"""The tiny backbone: a Qwen2.5-VL of about two million parameters, its tokenizer and processor, built on the spot.

Its weights are random until `python -m scripts.tiny_world.base` has taught it to read. The architecture is the
flagship's own (`Qwen2_5_VLForConditionalGeneration`), so what trains and serves it trains and serves the flagship. The
chat format is Qwen2.5-VL's too, with a vocabulary of about 2,000: words of our own prompts are whole tokens, everything
else falls back to bytes. Labels, answer tags, confidence levels and the signs that kaomoji are drawn with are one token
each; none of these is special, so all are decoded.

    python -m scripts.tiny_world.base --out emocaliber/data/tiny-base
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2 import Qwen2Tokenizer

from emocaliber.core.prompting import LEVEL_TEXTS
from emocaliber.core.taxonomy import KAOMOJI_10, SENTIMENT_3

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END, VISION_START, VISION_END, IMAGE, VIDEO)
TAGS = ("<answer>", "</answer>", "<confidence>", "</confidence>")

# As in Qwen2.5-VL, without its default system turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

PATCH, MERGE = 14, 2
MIN_PIXELS, MAX_PIXELS = 56 * 56, 20 * 28 * 28


def is_sign(character: str) -> bool:
    """Whether a character gets a token of its own: beyond the letters that the byte alphabet already uses."""
    return ord(character) >= 0x180 and not character.isspace()


def build_tokenizer(prompts: Iterable[str], signs: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE whose merges come from `prompts`, plus one token for each tag, level, label and sign."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, initial_alphabet=alphabet, special_tokens=list(SPECIAL), show_progress=False
    )
    bpe.train_from_iterator(prompts, trainer)
    bpe.add_special_tokens(list(SPECIAL))
    labels = (*KAOMOJI_10.labels, *SENTIMENT_3.labels)
    bpe.add_tokens([AddedToken(t, normalized=False) for t in (*TAGS, *LEVEL_TEXTS, *signs)])
    # A label takes the space before it along, so that it is the same token in a list and in an answer.
    bpe.add_tokens([AddedToken(t, lstrip=True, single_word=True, normalized=False) for t in labels])
    tokenizer = Qwen2Tokenizer(tokenizer_object=bpe, eos_token=TURN_END, pad_token=END_OF_TEXT)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [t for t in SPECIAL if t not in (TURN_END, END_OF_TEXT)]}
    )
    tokenizer.model_max_length = 2048
    return tokenizer


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLProcessor:
    """Qwen2.5-VL's processor around the tokenizer; white is 0 in the normalised picture, black is -2."""
    pixels = {
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        "image_mean": [1.0, 1.0, 1.0],
        "image_std": [0.5, 0.5, 0.5],
        "patch_size": PATCH,
        "merge_size": MERGE,
    }
    return Qwen2_5_VLProcessor(  # type: ignore[no-untyped-call]
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=CHAT_TEMPLATE,
    )


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
