"""Stage 3 by GRPO: sampled answers, a scoring-rule reward, no division by the group's deviation (TRL's trainer).

Not the default: it needs many more forward passes than the proper loss. Dividing by the deviation would drive
stochastic outcomes to over-confidence (Bereket & Leskovec 2025, arXiv 2508.11800): a recipe may ask for it
(`scale_rewards: group`), and is warned.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, ProgressCallback
from trl.trainer.grpo_config import GRPOConfig

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.stages.calibrate.draws import (
    SCALED,
    ScaledAdvantages,
    left_padding_processor,
    questions,
    reward_function,
)
from emocaliber.stages.calibrate.held_out import HeldOut
from emocaliber.stages.calibrate.proper import watch_of
from emocaliber.stages.calibrate.segments import SegmentTrainer, segment_rewards
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.fast.sharing_trainers import SharingGRPOTrainer
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import Log, finish, fixed_settings, load_trainable, result_name


def calibrate_by_grpo(
    recipe: Recipe, lessons: Sequence[Lesson], held_out: Sequence[Lesson], model: str, adapter: Path | None, out: Path
) -> None:
    """Train on the lessons, select on `held_out`: the best adapter goes to `out/best`, the last to `out/adapter`."""
    template = load_template(recipe.template)
    args = GRPOConfig(**({"scale_rewards": "none"} | recipe.trainer | fixed_settings(recipe, out)))
    if args.scale_rewards != "none":
        warnings.warn(SCALED.format(key="scale_rewards"), ScaledAdvantages, stacklevel=2)
    if recipe.advantages == "segments" and args.scale_rewards != "none":
        raise UserError(f"{recipe.path}: scale_rewards: segments are never scaled; take the key out")
    common: dict[str, Any] = {
        "model": load_trainable(recipe, model, adapter),
        "args": args,
        "train_dataset": questions(lessons, template),
        "processing_class": left_padding_processor(recipe, model),
        "share_questions": recipe.share_questions,
        "callbacks": [Log(out, "calibrate"), HeldOut(watch_of(recipe, held_out, model, out))],
    }
    if recipe.advantages == "segments":
        tags = template.tags("confidence")
        trainer: SharingGRPOTrainer = SegmentTrainer(**common, reward_funcs=segment_rewards(recipe), tags=tags)
    else:
        trainer = SharingGRPOTrainer(**common, reward_funcs=[reward_function(recipe)])
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    finish(trainer, out, result_name(recipe))
