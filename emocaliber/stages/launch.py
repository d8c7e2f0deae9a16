"""The processes of a distributed launch: how weights are sharded, and how work is shared between processes.

`accelerate launch` or `torchrun` starts the processes and accelerate connects them (emocaliber.runs.train). With a
single process, everything here is a plain loop.

    torchrun --nproc_per_node 2 -m emocaliber train RECIPE --out DIR
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist

from emocaliber.core.errors import UserError
from emocaliber.stages.recipe import Recipe

Sharding = Literal["none", "zero2", "zero3", "fsdp"]
Unit = TypeVar("Unit")
Result = TypeVar("Result")
_queues = count()


def sharding(recipe: Recipe) -> Sharding:
    """How the launcher's configuration or the recipe shards weights and optimiser state; ZeRO-1 counts as ZeRO-2.

    Raises UserError where DeepSpeed's file cannot be read.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true" or recipe.trainer.get("fsdp"):
        return "fsdp"
    file = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    config = recipe.trainer.get("deepspeed") or (file if file != "none" else None)
    if config is None and os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        return "zero3" if os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3" else "zero2"
    if config is None:
        return "none"
    try:
        settings = json.loads(Path(config).read_text()) if isinstance(config, str) else config
        return "zero3" if settings.get("zero_optimization", {}).get("stage") == 3 else "zero2"
    except (OSError, ValueError) as error:
        raise UserError(f"{recipe.path}: deepspeed: {config} cannot be read ({error})") from error


def processes() -> int:
    """The number of processes; 1 without a launcher."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def any_process(true: bool) -> bool:
    """Whether it is true in any process; a collective operation that all of them must call."""
    if processes() == 1:
        return true
    device = torch.cuda.current_device() if dist.get_backend() == "nccl" else "cpu"
    flag = torch.tensor(int(true), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def gathered(part: Result) -> list[Result]:
    """Every process's part, by rank, on every process."""
    if processes() == 1:
        return [part]
    parts: list[Any] = [None] * processes()
    dist.all_gather_object(parts, part)
    return parts


def distributed_map(units: Sequence[Unit], work: Callable[[Unit], Result]) -> list[Result]:
    """`work(unit)` for every unit, in order, on every process. Each process takes the next unit when it is free, so
    that none waits for a slower one longer than a unit takes.
    """
    if processes() == 1:
        return [work(unit) for unit in units]
    store: Any = dist.distributed_c10d._get_default_store()
    queue, done = f"emocaliber/{next(_queues)}", {}
    while (number := store.add(queue, 1) - 1) < len(units):
        done[number] = work(units[number])
    results = {number: result for part in gathered(done) for number, result in part.items()}
    return [results[number] for number in range(len(units))]
