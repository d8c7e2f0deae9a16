"""What the tiny models of every family share: a tokenizer that splits numbers into digits, and small sizes."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer

from emocaliber.core.prompting import LEVEL_TEXTS, load_template
from emocaliber.core.taxonomy import KAOMOJI_10
from scripts.tiny_world.backbone import SPECIAL

QWEN_PIECES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
SMALL = {
    "hidden_size": 64,  # two heads of 32: vLLM's attention on a CPU knows none smaller
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
}
EYES = {"hidden_size": 32, "intermediate_size": 64}


def digit_tokenizer(special: dict[str, str] | None = None, end: str = "<|im_end|>") -> Qwen2Tokenizer:
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
        tokenizer_object=bpe, eos_token=end, pad_token="<|endoftext|>", extra_special_tokens=special or {}
    )
    tokenizer.model_max_length = 2048
    return tokenizer


def qwen_pixels(patch: int) -> dict[str, Any]:
    side = 2 * patch
    return {"size": {"shortest_edge": side**2, "longest_edge": 6 * side**2}, "patch_size": patch, "merge_size": 2}
