"""Stage 3 by a proper loss: the model's own answers in context, whether they were right, a proper score of its levels.

Nothing is sampled, so a step costs one forward and one backward pass.

    emocaliber train recipes/tiny/3-calibrate.yaml --adapter DIR --out out/3
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer

from emocaliber.models.question import Question
from emocaliber.stages.calibrate.held_out import HeldOutCallback
from emocaliber.stages.calibrate.objectives import OBJECTIVES, anchored
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.supervised import train_supervised


def calibrate_by_proper_loss(
    recipe: Recipe,
    examples: Sequence[TrainingExample],
    held_out: Sequence[TrainingExample],
    model: str,
    adapter: Path | None,
    out: Path,
) -> None:
    """Train on the examples, select on `held_out`: the best step's weights go to `out/best`, the last's to `adapter`
    (`model` where every weight learns)."""

    def callback(trainer: Trainer, question: Question, processor: Any) -> HeldOutCallback:
        return HeldOutCallback(trainer, recipe, held_out, question, processor, out)

    train_supervised(
        recipe,
        examples,
        model,
        adapter,
        out,
        title="calibrate",
        level_loss=anchored(recipe.anchor, OBJECTIVES[recipe.objective]),
        callback_of=callback,
    )
