"""Drawn answers that hang on the picture and on how often it came, not on the process or the batch that it came in.

So that GRPO in two processes and in one draws the same answers, and the rest can be compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList

from emocaliber.generation.logits import GumbelNoise


def keyed(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Qwen2.5-VL's own `generate`, whose draws at temperature 1 are keyed; greedy answers stay as they are."""
    came: Counter[str] = Counter()

    def seed(picture: torch.Tensor) -> int:
        name = hashlib.sha256(picture.numpy().tobytes()).hexdigest()
        came[name] += 1
        return int(name[:8], 16) + came[name]

    def generate(self: Any, *args: Any, generation_config: GenerationConfig, **inputs: Any) -> Any:
        if not generation_config.do_sample:
            return plain(self, *args, generation_config=generation_config, **inputs)
        pictures = inputs["pixel_values"].split(inputs["image_grid_thw"].prod(-1).tolist())
        greedy: Any = GenerationConfig
        config = greedy(
            do_sample=False,
            max_new_tokens=generation_config.max_new_tokens,
            eos_token_id=generation_config.eos_token_id,
            pad_token_id=generation_config.pad_token_id,
        )
        noise = LogitsProcessorList([GumbelNoise([seed(one) for one in pictures], 1.0)])
        return plain(self, *args, generation_config=config, logits_processor=noise, **inputs)

    return generate
