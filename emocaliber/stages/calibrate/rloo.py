"""Stage 3 by RLOO: REINFORCE with the other draws' mean reward as the baseline (Ahmadian et al. 2024, arXiv
2402.14740; TRL's trainer).

The alternative to GRPO: the leave-one-out baseline is unbiased, and nothing is divided by a deviation. TRL keeps the
policy near its start by a KL penalty, the key `beta` (0.05 where the recipe says nothing).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from transformers import PrinterCallback, ProgressCallback
from trl.trainer.rloo_config import RLOOConfig

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
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.fast.sharing_trainers import SharingRLOOTrainer
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import Log, finish, fixed_settings, load_trainable, result_name


def calibrate_by_rloo(
    recipe: Recipe, lessons: Sequence[Lesson], held_out: Sequence[Lesson], model: str, adapter: Path | None, out: Path
) -> None:
    """Train on the lessons, select on `held_out`: the best adapter goes to `out/best`, the last to `out/adapter`."""
    args = RLOOConfig(**(recipe.trainer | fixed_settings(recipe, out)))
    if args.normalize_advantages:
        warnings.warn(SCALED.format(key="normalize_advantages"), ScaledAdvantages, stacklevel=2)
    trainer = SharingRLOOTrainer(
        model=load_trainable(recipe, model, adapter),
        reward_funcs=[reward_function(recipe)],
        args=args,
        share_questions=recipe.share_questions,
        train_dataset=questions(lessons, load_template(recipe.template)),
        processing_class=left_padding_processor(recipe, model),
        callbacks=[Log(out, "calibrate"), HeldOut(watch_of(recipe, held_out, model, out))],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    finish(trainer, out, result_name(recipe))
