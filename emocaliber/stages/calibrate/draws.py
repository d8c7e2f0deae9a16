"""Shared inputs of GRPO and RLOO: the dataset of questions, and the recipe's reward as a TRL reward function.

The trainers are in reinforcement; how an answer is scored is in stages.grading.

    method: grpo
    correctness: agreement
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset

from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS, load_image
from emocaliber.core.prompting import Template, messages
from emocaliber.stages.examples import TrainingExample, lazy_dataset
from emocaliber.stages.grading import completions_of, rewards_of
from emocaliber.stages.loading import load_processor
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.rewards import Reward, chosen_reward


def left_padding_processor(recipe: Recipe, model: str) -> Any:
    """The model's processor, padding on the left: TRL's trainers do so, and image masks must be padded alike."""
    processor: Any = load_processor(model, recipe.max_pixels, recipe.thinking)
    processor.tokenizer.padding_side = "left"
    return processor


def reward_function(recipe: Recipe) -> Callable[..., list[float | None]]:
    """A TRL reward function, one finite number for each completion, by the recipe's `reward` and `correctness`.

    Where a group is spread over processes, its accuracy is that of the completions on this process. Raises UserError
    for an unknown reward, and warns of one that is not safe.
    """
    reward = reward_of(recipe)

    def scored(completions: list[Any], **columns: Any) -> list[float | None]:
        return list(rewards_of(reward, completions_of(completions, columns), recipe.correctness))

    return scored


def reward_of(recipe: Recipe) -> Reward:
    """The recipe's reward, with a warning where it is not safe. Raises UserError for an unknown name."""
    try:
        return chosen_reward(recipe.reward)
    except ValueError as error:
        raise UserError(f"{recipe.path}: reward: {error}") from None


def question_dataset(
    examples: Sequence[TrainingExample], template: Template, max_pixels: int = SHOWN_PIXELS
) -> Dataset:
    """A lazy dataset of the examples' prompts and pictures, with the columns that a reward judges answers by."""

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [examples[i].sample for i in batch["example"]]
        return {
            "prompt": [messages(template.render(sample.candidates, question=sample.question)) for sample in chosen],
            "images": [[load_image(sample.image, max_pixels)] for sample in chosen],
            "truth": [sample.label for sample in chosen],
            "question": [sample.id for sample in chosen],
            "candidates": [sample.candidates for sample in chosen],
            "votes": [sample.votes for sample in chosen],
        }

    return lazy_dataset("example", range(len(examples)), rows)
