"""The trackers that a recipe names by `report_to` (trackio, wandb, tensorboard): known, installed, their files kept.

Not a tracker: transformers' callbacks send what is logged; `log.jsonl` is written whether there is one or not.

    emocaliber train RECIPE report_to=tensorboard --out DIR      # then: tensorboard --logdir DIR
"""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path

from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from emocaliber.core.errors import UserError
from emocaliber.stages.recipe import Recipe

BOARDS = "runs"  # tensorboard's folder, which transformers puts among the checkpoints


def named(recipe: Recipe) -> list[str]:
    """The trackers of the recipe. Raises UserError where one is unknown to transformers."""
    told = recipe.trainer.get("report_to") or "none"
    trackers = [told] if isinstance(told, str) else list(told)
    known = ["none", "all", *INTEGRATION_TO_CALLBACK]
    for name in trackers:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(f"{recipe.path}: report_to: {name!r} is not one of {', '.join(known)}{hint}")
    return [name for name in trackers if name not in {"none", "all"}]


def refuse_missing(recipe: Recipe) -> None:
    """Raises UserError where a tracker is not installed, before the run has done an hour's work."""
    there = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    if missing := [name for name in named(recipe) if name not in there]:
        raise UserError(
            f"{recipe.path}: report_to: {missing[0]} is not installed here; install it, or give report_to=none"
            " (log.jsonl holds the same figures)"
        )


def keep_boards(checkpoints: Path) -> None:
    """Copy tensorboard's files beside the checkpoints, which go when the stage is finished; again after a kill."""
    if (checkpoints / BOARDS).is_dir():
        shutil.copytree(checkpoints / BOARDS, checkpoints.with_name(BOARDS), dirs_exist_ok=True)
