"""The processes of one run: which of them writes, where each one's model goes, and asking a teacher side by side.

Not a launcher: `accelerate launch` or `torchrun` starts the processes, accelerate finds the others.

    torchrun --nproc_per_node 2 -m emocaliber.cli train RECIPE --out DIR
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState

from emocaliber.core.errors import UserError
from emocaliber.stages.recipe import Recipe

Asked = TypeVar("Asked")
Found = TypeVar("Found")


def join(recipe: Recipe) -> PartialState:
    """This process's place among those that were launched together: alone, where it was started by itself.

    Raises UserError where the recipe needs a GPU and there is none, or would be parted by what does nothing there.
    """
    on_cpu = bool(recipe.trainer.get("use_cpu", False))
    if not on_cpu and not torch.cuda.is_available():
        raise UserError(
            f"{recipe.path}: there is no GPU here; add use_cpu=true bf16=false (a small model only), or run"
            " `emocaliber recipe validate` and `emocaliber estimate`, which need none"
        )
    if on_cpu and (os.environ.get("ACCELERATE_USE_FSDP") == "true" or recipe.trainer.get("fsdp")):
        raise UserError(
            f"{recipe.path}: FSDP parts nothing on a CPU and does not say so; take it out, or give deepspeed=FILE"
        )
    return PartialState(cpu=on_cpu)


def asked_by_all(samples: Sequence[Asked], ask: Callable[[Sequence[Asked]], Sequence[Found]]) -> list[Found]:
    """`ask` about all samples, each process about its part, and every process has every answer, in order."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return list(ask(samples))
    rank, size = dist.get_rank(), dist.get_world_size()
    parts: list[Any] = [None] * size
    dist.all_gather_object(parts, list(ask(samples[rank::size])))
    whole: list[Any] = [None] * len(samples)
    for other, part in enumerate(parts):
        whole[other::size] = part
    return whole
