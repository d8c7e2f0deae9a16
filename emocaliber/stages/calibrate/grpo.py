"""Stage 3 by GRPO: sampled answers, a scoring-rule reward, no division by the group's deviation (TRL's trainer).

Not the default: it needs many more forward passes than the proper loss. Dividing by the deviation would drive
stochastic outcomes to over-confidence (Bereket & Leskovec 2025, arXiv 2508.11800).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from emocaliber.errors import UserError
from emocaliber.images import load_image
from emocaliber.prompting import Template, load_template, messages
from emocaliber.stages.calibrate.held_out import HeldOut
from emocaliber.stages.calibrate.proper import watch_of
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.rewards_correctness import Completion, rewards_of
from emocaliber.stages.rewards_safety import chosen_reward
from emocaliber.stages.training import Log, finish, fixed_settings, load_processor, load_trainable, result_name


def grpo_keys() -> set[str]:
    """The keys that TRL's GRPO configuration knows."""
    return {f.name for f in dataclasses.fields(GRPOConfig)}


def calibrate_by_grpo(
    recipe: Recipe, lessons: Sequence[Lesson], held_out: Sequence[Lesson], model: str, adapter: Path | None, out: Path
) -> None:
    """Train on the lessons, select on `held_out`: the best adapter goes to `out/best`, the last to `out/adapter`."""
    processor: Any = load_processor(model, recipe.max_pixels)
    # The trainer pads prompts on the left; image masks that the processor pads on the right would not match them.
    processor.tokenizer.padding_side = "left"
    trainer = GRPOTrainer(
        model=load_trainable(recipe, model, adapter),
        reward_funcs=[reward_function(recipe)],
        args=GRPOConfig(**(recipe.trainer | fixed_settings(recipe, out) | {"scale_rewards": "none"})),
        train_dataset=_questions(lessons, load_template(recipe.template)),
        processing_class=processor,
        callbacks=[Log(out, "calibrate"), HeldOut(watch_of(recipe, held_out, model, out))],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    finish(trainer, out, result_name(recipe))


def reward_function(recipe: Recipe) -> Callable[..., list[float | None]]:
    """TRL's reward contract: one finite number a completion, by the recipe's `reward` and `correctness`.

    Where several processes share a group, its accuracy is that of the part which a process holds. Raises UserError for
    a reward that does not exist, and warns of one that is not safe.
    """
    try:
        reward = chosen_reward(recipe.reward)
    except ValueError as error:
        raise UserError(f"{recipe.path}: reward: {error}") from None

    def scored(completions: list[Any], **columns: Any) -> list[float | None]:
        keys = ("question", "candidates", "truth", "votes")
        rows = zip(*(columns[key] for key in keys), strict=True)
        asked = [
            Completion(_text(one), question, tuple(candidates), truth, votes)
            for one, (question, candidates, truth, votes) in zip(completions, rows, strict=True)
        ]
        return list(rewards_of(reward, asked, recipe.correctness))

    return scored


def _text(completion: Any) -> str:
    if isinstance(completion, str):
        return completion
    content = completion[0]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def _questions(lessons: Sequence[Lesson], template: Template) -> Dataset:
    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [lessons[i].sample for i in batch["lesson"]]
        return {
            "prompt": [messages(template.render(one.candidates)) for one in chosen],
            "images": [[load_image(one.image)] for one in chosen],
            "truth": [one.label for one in chosen],
            "question": [one.id for one in chosen],
            "candidates": [one.candidates for one in chosen],
            "votes": [one.votes for one in chosen],
        }

    return Dataset.from_dict({"lesson": list(range(len(lessons)))}).with_transform(rows)
