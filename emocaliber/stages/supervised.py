"""Stages 1 and 2, and stage 3 by a proper loss: supervised, by TRL's SFT trainer with soft targets where given.

Not reinforcement learning (see calibrate.grpo).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.prompting import load_template
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.conversations import Lesson, as_dataset
from emocaliber.stages.fast.kept_features import keep_all, passes, remembering
from emocaliber.stages.fast.packing import use_packing
from emocaliber.stages.lengths import token_lengths
from emocaliber.stages.profiling import VISION, part
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.soft_targets import (
    LevelLoss,
    SoftTargetCollator,
    SoftTargetTrainer,
    cross_entropy,
)
from emocaliber.stages.training import Log, finish, fixed_settings, load_processor, load_trainable, result_name


def trainer_keys() -> set[str]:
    """The keys that TRL's SFT configuration knows."""
    return {f.name for f in dataclasses.fields(SFTConfig)}


def sft_config(recipe: Recipe, out: Path) -> SFTConfig:
    """The recipe's keys in TRL's own class; what the stages need to be right is set here."""
    return SFTConfig(**(recipe.trainer | fixed_settings(recipe, out) | {"max_length": None}))


def train_supervised(
    recipe: Recipe,
    lessons: Sequence[Lesson],
    model: str,
    adapter: Path | None,
    out: Path,
    *,
    title: str,
    level_loss: LevelLoss = cross_entropy,
    callbacks: Sequence[TrainerCallback] = (),
    beside: Sequence[SoftTargetCollator] = (),
) -> SoftTargetTrainer:
    """Train on the lessons and leave `adapter/` and `log.jsonl` in `out`; run again after a stop, it goes on.

    What other collators read `beside` the training comes from the kept features too, where there are any.
    """
    processor = load_processor(model, recipe.max_pixels)
    template = load_template(recipe.template)
    args = sft_config(recipe, out)
    learner = load_trainable(recipe, model, adapter)
    reader = remembering(recipe, learner, processor, out)
    reading: Any = reader or processor
    for one in beside:
        one.inner.processor = reading
    collator = DataCollatorForVisionLanguageModeling(reading, max_length=None, completion_only_loss=True)
    grouped = args.train_sampling_strategy == "group_by_length"
    trainer = SoftTargetTrainer(
        model=learner,
        args=args,
        train_dataset=as_dataset(lessons, template),
        processing_class=processor,
        data_collator=SoftTargetCollator(collator, AnswerPaths(processor, template)),
        callbacks=[Log(out, title), *callbacks],
        level_loss=level_loss,
        packing=recipe.packing and use_packing(learner),
        lengths=token_lengths(lessons, template, processor) if grouped else None,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if reader is not None:
        with part(VISION):
            keep_all(reader, [one.sample for one in lessons], passes(recipe, len(lessons)))
    finish(trainer, out, result_name(recipe))
    return trainer
