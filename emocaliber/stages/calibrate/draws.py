"""What the methods that learn from their own draws share: the questions, and the recipe's reward in TRL's contract.

The trainers are in reinforcement; what an answer earns is in stages.grading.

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
    """The trainers pad prompts on the left; image masks that the processor pads on the right would not match them."""
    processor: Any = load_processor(model, recipe.max_pixels, recipe.thinking)
    processor.tokenizer.padding_side = "left"
    return processor


def reward_function(recipe: Recipe) -> Callable[..., list[float | None]]:
    """TRL's reward contract: one finite number a completion, by the recipe's `reward` and `correctness`.

    Where several processes share a group, its accuracy is that of the part which a process holds. Raises UserError for
    a reward that does not exist, and warns of one that is not safe.
    """
    reward = reward_of(recipe)

    def scored(completions: list[Any], **columns: Any) -> list[float | None]:
        return list(rewards_of(reward, completions_of(completions, columns), recipe.correctness))

    return scored


def reward_of(recipe: Recipe) -> Reward:
    """The recipe's reward, with a warning where it is not safe. Raises UserError where there is none of that name."""
    try:
        return chosen_reward(recipe.reward)
    except ValueError as error:
        raise UserError(f"{recipe.path}: reward: {error}") from None


def questions(examples: Sequence[TrainingExample], template: Template, max_pixels: int = SHOWN_PIXELS) -> Dataset:
    """The examples' questions with pictures and what answers are judged by, decoded when they are asked for."""

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
