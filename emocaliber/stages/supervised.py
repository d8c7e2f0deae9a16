"""Supervised training, for stages 1 and 2 and for stage 3 by a proper loss: TRL's SFT trainer with soft targets.

train_supervised(recipe, examples, model, adapter, out, title="label")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling, SFTTrainer

from emocaliber.core.prompting import Template, load_template
from emocaliber.models.location import Question
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.examples import TrainingExample, as_dataset, samples_of, token_lengths, trained_question
from emocaliber.stages.fast.feature_cache import epochs_of, precompute_features, use_kept_features
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
    """TRL's configuration from the recipe's keys, with the settings that the stages depend on."""
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
    """Train on the examples and write `adapter/` (or `model/`) and `log.jsonl` into `out`; resumes a stopped run there.

    `callback_of` makes one more callback from the trainer, the question that the model is trained for, and the
    processor (which supplies kept features where they are used).
    """
    processor = load_processor(model, recipe.max_pixels, recipe.thinking)
    template = load_template(recipe.template)
    args = sft_config(recipe, out)
    trainable = load_trainable(recipe, model, adapter)
    if recipe.packing:
        use_packing(trainable, sharded=sharding(recipe) != "none")
    features = use_kept_features(recipe, trainable, processor, out)
    encoder: Any = features or processor
    collator = DataCollatorForVisionLanguageModeling(encoder, max_length=None, completion_only_loss=True)
    grouped = args.train_sampling_strategy == "group_by_length"
    trainer = SoftTargetTrainer(
        model=trainable,
        args=args,
        train_dataset=as_dataset(examples, template, recipe.shown_pixels),
        processing_class=processor,
        data_collator=SoftTargetCollator(collator, AnswerPaths(processor, template)),
        callbacks=[Log(out, title), *callbacks],
        level_loss=level_loss,
        packing=recipe.packing,
        lengths=_lengths_by_main(examples, template, processor, recipe) if grouped else None,
    )
    samples = samples_of(examples)
    if features is not None:
        with part(VISION):
            precompute_features(features, samples, epochs_of(recipe, len(examples)), recipe.shown_pixels)
    question = trained_question(recipe, samples)
    if callback_of is not None:
        trainer.add_callback(callback_of(trainer, question, encoder))
    finish(trainer, out, result_name(recipe), question)
    return trainer


def _lengths_by_main(
    examples: Sequence[TrainingExample], template: Template, processor: Any, recipe: Recipe
) -> list[int]:
    """The examples' lengths, for which the main process alone opens every picture; the others receive them."""
    state = PartialState()
    lengths = token_lengths(examples, template, processor, recipe.shown_pixels) if state.is_main_process else None
    received: list[Any] = broadcast_object_list([lengths])
    return list(received[0])
