"""What every loading of a model needs, whichever room it happens in: a device, complete weights, precise logits.

with complete_weights():
    model = AutoModelForImageTextToText.from_pretrained(folder, device_map={"": chosen_device("auto")})
fp32_logits(model)
...
release()
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

SHARDED_LOADING = ("ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING")
"""With both set, transformers reads the weights on one process of a node and leaves zeros on the others, for FSDP to
fill when it wraps the model."""
HEAD_ROWS = 8192  # rows of the output matrix that are held in float32 at a time


def chosen_device(device: str) -> str:
    """The device that "auto" stands for: a CUDA GPU, else Apple's, else the CPU; any other name is itself."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def complete_weights() -> Iterator[None]:
    """Inside, each process reads all weights of a model that nothing will wrap, whatever the launcher's file says."""
    before = {name: os.environ.pop(name) for name in SHARDED_LOADING if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def release() -> None:
    """Give back the memory of models that nothing refers to any more, cycles of patched modules included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fp32_logits(model: Any) -> None:
    """Let a model in a shorter type compute its logits in float32 from the last hidden state.

    In bfloat16 a logit between 16 and 32 is a multiple of 0.125 nats: too coarse to read a probability from. A model
    in float32, or whose head is no plain linear layer, stays as it is.
    """
    head = model.get_output_embeddings()
    if type(head) is nn.Linear and head.weight.dtype in (torch.bfloat16, torch.float16):
        head.forward = partial(_in_float32, head)  # type: ignore[method-assign]


def _in_float32(head: nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    """[..., width] to [..., vocabulary], by parts of the vocabulary: the whole matrix would be copied otherwise."""
    with torch.autocast(hidden.device.type, enabled=False):
        state = hidden.float()
        parts = [
            F.linear(state, head.weight[start : start + HEAD_ROWS].float())
            for start in range(0, len(head.weight), HEAD_ROWS)
        ]
        logits = torch.cat(parts, dim=-1)
        return logits if head.bias is None else logits + head.bias.float()
