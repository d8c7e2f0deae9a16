"""Stages 1 and 2, and stage 3 by a proper loss: supervised, by TRL's SFT trainer with soft targets where given.

train_supervised(recipe, examples, model, adapter, out, title="label")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling, SFTTrainer

from emocaliber.core.prompting import load_template
from emocaliber.models.location import Question
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.examples import TrainingExample, as_dataset, samples_behind, token_lengths, trained_question
from emocaliber.stages.fast.feature_cache import keep_all, passes, remembering
from emocaliber.stages.fast.packing import use_packing
from emocaliber.stages.launch import sharding
from emocaliber.stages.loading import load_processor, load_trainable
from emocaliber.stages.profiling import VISION, part
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.soft_targets import (
    LevelLoss,
    SoftTargetCollator,
    SoftTargetTrainer,
    cross_entropy,
)
from emocaliber.stages.training import Log, finish, fixed_settings, result_name

CallbackOf = Callable[[SFTTrainer, Question, Any], TrainerCallback]


def trainer_keys() -> set[str]:
    """The keys that TRL's SFT configuration knows."""
    return {f.name for f in dataclasses.fields(SFTConfig)}


def sft_config(recipe: Recipe, out: Path) -> SFTConfig:
    """The recipe's keys in TRL's own class; what the stages need to be right is set here."""
    return SFTConfig(**(recipe.trainer | fixed_settings(recipe, out) | {"max_length": None}))


def train_supervised(
    recipe: Recipe,
    examples: Sequence[TrainingExample],
    model: str,
    adapter: Path | None,
    out: Path,
    *,
    title: str,
    level_loss: LevelLoss = cross_entropy,
    callbacks: Sequence[TrainerCallback] = (),
    callback_of: CallbackOf | None = None,
) -> SoftTargetTrainer:
    """Train on the examples and leave `adapter/` and `log.jsonl` in `out`; run again after a stop, it resumes.

    `callback_of` makes one more callback of the trainer, the question that it is trained for and the processor that
    encodes pictures (from kept features, where there are any).
    """
    processor = load_processor(model, recipe.max_pixels, recipe.thinking)
    template = load_template(recipe.template)
    args = sft_config(recipe, out)
    learner = load_trainable(recipe, model, adapter)
    if recipe.packing:
        use_packing(learner, sharded=sharding(recipe) != "none")
    reader = remembering(recipe, learner, processor, out)
    reading: Any = reader or processor
    collator = DataCollatorForVisionLanguageModeling(reading, max_length=None, completion_only_loss=True)
    grouped = args.train_sampling_strategy == "group_by_length"
    trainer = SoftTargetTrainer(
        model=learner,
        args=args,
        train_dataset=as_dataset(examples, template, recipe.shown_pixels),
        processing_class=processor,
        data_collator=SoftTargetCollator(collator, AnswerPaths(processor, template)),
        callbacks=[Log(out, title), *callbacks],
        level_loss=level_loss,
        packing=recipe.packing,
        lengths=token_lengths(examples, template, processor, recipe.shown_pixels) if grouped else None,
    )
    if reader is not None:
        with part(VISION):
            keep_all(reader, samples_behind(examples), passes(recipe, len(examples)), recipe.shown_pixels)
    question = trained_question(recipe, samples_behind(examples))
    if callback_of is not None:
        trainer.add_callback(callback_of(trainer, question, reading))
    finish(trainer, out, result_name(recipe), question)
    return trainer
