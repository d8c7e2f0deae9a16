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

from emocaliber.generation.decoding import GumbelNoise

TOLD: list[torch.Tensor] = []
"""The pictures of the rows in question where `generate` is not given them, since the model has seen them already."""


def pictures_of(inputs: dict[str, Any]) -> list[torch.Tensor]:
    """Each row's patches."""
    return list(inputs["pixel_values"].split(inputs["image_grid_thw"].prod(-1).tolist()))


def telling(shared: Callable[..., Any]) -> Callable[..., Any]:
    """`generate_shared`, which goes through the pictures first: it tells `keyed` what they were."""

    def generate(model: Any, alone: Any, copies: int, batch: dict[str, Any]) -> Any:
        TOLD[:] = pictures_of(batch)
        return shared(model, alone, copies, batch)

    return generate


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
        pictures = pictures_of(inputs) if "pixel_values" in inputs else TOLD
        greedy: Any = GenerationConfig
        config = greedy(
            do_sample=False,
            max_new_tokens=generation_config.max_new_tokens,
            eos_token_id=generation_config.eos_token_id,
            pad_token_id=generation_config.pad_token_id,
        )
        noise = LogitsProcessorList([GumbelNoise([seed(picture) for picture in pictures], 1.0)])
        return plain(self, *args, generation_config=config, logits_processor=noise, **inputs)

    return generate
