"""What goes on from a cache has the logits of the whole text, each time, whatever mixes the tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from emocaliber.models.cache import copied_cache
from emocaliber.models.loading import support_logits_to_keep
from tests.stages.families import FAMILIES


@pytest.mark.parametrize("family", ["qwen3.5", "minicpm-v", "lfm2-vl", "gemma-4", "qwen3-vl"])
@torch.inference_mode()
def test_several_continuations_of_each_row_are_those_of_the_whole_text(family: str) -> None:
    torch.manual_seed(0)
    model: Any = FAMILIES[family]()[0].eval()
    support_logits_to_keep(model)
    begun, ends = torch.randint(20, 100, (2, 9)), torch.randint(20, 100, (6, 3))
    cache = model(input_ids=begun, use_cache=True, logits_to_keep=1).past_key_values
    whole = model(input_ids=torch.cat([begun.repeat_interleave(3, dim=0), ends], dim=1), logits_to_keep=3).logits
    for _ in range(2):  # the first must leave the cache as it was
        logits = model(input_ids=ends, past_key_values=copied_cache(cache, 3), use_cache=True).logits
        torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-5)
