"""One process's place in its launch, and what is refused there before a model is loaded.

torchrun --nproc_per_node 2 -m emocaliber train RECIPE --out DIR
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState

from emocaliber.core.errors import UserError
from emocaliber.runs.launches import Launcher, refuse_launch
from emocaliber.stages.launch import sharding
from emocaliber.stages.recipe import Recipe

Result = TypeVar("Result")
PATIENCE = timedelta(hours=12)
"""How long a process waits for the others: querying a teacher takes hours, and one may be far behind (torch's own limit
is ten minutes)."""


def join(recipe: Recipe) -> PartialState:
    """This process's place among those that were launched together: alone, where it was started by itself.

    Raises UserError where the recipe needs a GPU and there is none, where the launch parts what cannot be parted, and
    where one process sees several GPUs.
    """
    on_cpu = bool(recipe.trainer.get("use_cpu", False))
    if not on_cpu and not torch.cuda.is_available():
        raise UserError(
            f"{recipe.path}: there is no GPU here; add use_cpu=true bf16=false (a small model only), or run"
            " `emocaliber recipe validate` and `emocaliber recipe estimate`, which need none"
        )
    refuse_here(recipe, gpus=0 if on_cpu else torch.cuda.device_count())
    return PartialState(cpu=on_cpu, timeout=PATIENCE)


def by_main(work: Callable[[], Result]) -> Result:
    """What `work` returns to the main process, for every process; the others wait. Its UserError is raised in each."""
    outcome: list[Any] = [None, None]
    if PartialState().is_main_process:
        try:
            outcome = [work(), None]
        except UserError as error:
            outcome = [None, str(error)]
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.broadcast_object_list(outcome)
    result, sentence = outcome
    if sentence is not None:
        raise UserError(sentence)
    return result  # type: ignore[no-any-return]


def refuse_here(recipe: Recipe, *, gpus: int) -> None:
    """Raises UserError for what would do nothing, fail at its first step, or leave pieces; see the table in
    recipes/accelerate/README.md.
    """
    launcher = launcher_here(recipe)
    if launcher == "fsdp2" and recipe.trainer.get("use_cpu"):
        raise UserError(
            f"{recipe.path}: FSDP parts nothing on a CPU and does not say so; take it out, or give deepspeed=FILE"
        )
    refuse_launch(recipe, launcher)
    if gpus > 1 and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise UserError(
            f"{recipe.path}: one process sees {gpus} GPUs and would train on none of them rightly; set"
            f" CUDA_VISIBLE_DEVICES=0, or start it by accelerate launch --num_processes {gpus}"
        )


def launcher_here(recipe: Recipe) -> Launcher:
    """The launcher that started this process, by what it left in the environment and by the recipe's own keys."""
    if (parted := sharding(recipe)) != "none":
        return "fsdp2" if parted == "fsdp" else parted
    return "ddp" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else "single"
