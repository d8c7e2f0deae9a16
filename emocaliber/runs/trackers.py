"""The trackers that a recipe names by `report_to` (trackio, wandb, tensorboard): known, installed, their files kept.

Not a tracker: transformers' callbacks send what is logged; `log.jsonl` is written whether there is one or not.

    emocaliber train RECIPE report_to=tensorboard --out DIR      # then: tensorboard --logdir DIR
"""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers.integrations.integration_utils import get_available_reporting_integrations

from emocaliber.core.errors import UserError
from emocaliber.runs.recipes import trackers_of
from emocaliber.stages.recipe import Recipe

BOARDS = "runs"  # tensorboard's folder, which transformers puts among the checkpoints


def refuse_missing(recipe: Recipe) -> None:
    """Raises UserError where a tracker is not installed, before the run has done an hour's work."""
    there = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    if missing := [name for name in trackers_of(recipe) if name not in there]:
        raise UserError(
            f"{recipe.path}: report_to: {missing[0]} is not installed here; install it, or give report_to=none"
            " (log.jsonl holds the same figures)"
        )


def keep_boards(checkpoints: Path) -> None:
    """Copy tensorboard's files beside the checkpoints, which go when the stage is finished; again after a kill."""
    if (checkpoints / BOARDS).is_dir():
        shutil.copytree(checkpoints / BOARDS, checkpoints.with_name(BOARDS), dirs_exist_ok=True)
