"""One process's place in its launch, and what is refused there before a model is loaded.

torchrun --nproc_per_node 2 -m emocaliber.cli train RECIPE --out DIR
"""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import PartialState

from emocaliber.core.errors import UserError
from emocaliber.stages.launch import sharding
from emocaliber.stages.recipe import Recipe

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
    refuse_launch(recipe, gpus=0 if on_cpu else torch.cuda.device_count())
    return PartialState(cpu=on_cpu, timeout=PATIENCE)


def refuse_launch(recipe: Recipe, *, gpus: int) -> None:
    """Raises UserError for what would do nothing, fail at its first step, or leave pieces; see the table in
    recipes/accelerate/README.md.
    """
    parted = sharding(recipe)
    if parted == "fsdp" and recipe.trainer.get("use_cpu"):
        raise UserError(
            f"{recipe.path}: FSDP parts nothing on a CPU and does not say so; take it out, or give deepspeed=FILE"
        )
    if parted in {"fsdp", "zero3"} and recipe.stage == "calibrate" and recipe.method != "proper":
        raise UserError(
            f"{recipe.path}: method {recipe.method} does not run with weights in parts"
            f" ({'FSDP' if parted == 'fsdp' else 'ZeRO-3'}): it generates while it learns; launch it with"
            " recipes/accelerate/ddp.yaml or zero2.yaml, or take method: proper"
        )
    if gpus > 1 and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise UserError(
            f"{recipe.path}: one process sees {gpus} GPUs and would train on none of them rightly; set"
            f" CUDA_VISIBLE_DEVICES=0, or start it by accelerate launch --num_processes {gpus}"
        )
