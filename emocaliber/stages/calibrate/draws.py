"""What the methods that learn from their own draws share: the questions, the reward, and what counts as right.

The trainers are in reinforcement and segments. Right is the dominant label, the raters' share, or the group's accuracy.
Every reward is linear in correctness, so with any of the three the confidence that pays best is the expected
correctness, and a reward that is safe stays safe.

    method: grpo
    correctness: agreement
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS, load_image
from emocaliber.core.prompting import Template, messages
from emocaliber.stages.examples import TrainingExample, made_when_read
from emocaliber.stages.loading import load_processor
from emocaliber.stages.recipe import Correctness, Recipe
from emocaliber.stages.rewards import Reward, chosen_reward, never_best, stated

COLUMNS = ("question", "candidates", "truth", "votes")
"""What is known of a question besides its text and picture; TRL hands it to the reward."""
GROUP_WEIGHT = 0.5
"""Weight of the group's accuracy in its mixture with the answer's own correctness (DCPO, arXiv 2603.09117)."""


def left_padding_processor(recipe: Recipe, model: str) -> Any:
    """The trainers pad prompts on the left; image masks that the processor pads on the right would not match them."""
    processor: Any = load_processor(model, recipe.max_pixels)
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


def completions_of(completions: Sequence[Any], columns: dict[str, Any]) -> list[Completion]:
    """The completions beside what they are judged by."""
    rows = zip(*(columns[key] for key in COLUMNS), strict=True)
    return [
        Completion(text_of(completion), question, tuple(candidates), truth, votes)
        for completion, (question, candidates, truth, votes) in zip(completions, rows, strict=True)
    ]


def text_of(completion: Any) -> str:
    """A completion's text, of a chat or plain."""
    if isinstance(completion, str):
        return completion
    content = completion[0]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def questions(examples: Sequence[TrainingExample], template: Template, max_pixels: int = SHOWN_PIXELS) -> Dataset:
    """The examples' questions with pictures and COLUMNS, decoded when they are asked for."""

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [examples[i].sample for i in batch["example"]]
        return {
            "prompt": [messages(template.render(sample.candidates)) for sample in chosen],
            "images": [[load_image(sample.image, max_pixels)] for sample in chosen],
            "truth": [sample.label for sample in chosen],
            "question": [sample.id for sample in chosen],
            "candidates": [sample.candidates for sample in chosen],
            "votes": [sample.votes for sample in chosen],
        }

    return made_when_read("example", range(len(examples)), rows)


@dataclass(frozen=True)
class Completion:
    """One sampled answer and what it is judged by. Answers to one question share `question`; `votes` count raters."""

    text: str
    question: Hashable
    candidates: tuple[str, ...]
    truth: str
    votes: Mapping[str, int] | None = None


def rewards_of(reward: Reward, completions: Sequence[Completion], correctness: Correctness) -> list[float]:
    """One finite number a completion, in order; a malformed one earns `reward.malformed`.

    Raises ValueError where agreement is asked for and a question has no votes.
    """
    readings = [stated(reading.text, reading.candidates) for reading in completions]
    right = correctness_of(completions, [None if reading is None else reading[0] for reading in readings], correctness)
    earned = [
        reward.malformed if reading is None else reward(reading[1], share)
        for reading, share in zip(readings, right, strict=True)
    ]
    return never_best(earned, reward.malformed)


def correctness_of(
    completions: Sequence[Completion], labels: Sequence[str | None], correctness: Correctness
) -> list[float]:
    """How right each label is, in [0, 1]; a label of None is wrong.

    `label`: 1 for the dominant label. `agreement`: the share of raters who chose the label. `group`: half the answer's
    own correctness, half the share of right answers among all given here to the same question (DCPO's mixture), a
    target of less variance that is honest about the question more than about the answer.
    """
    if correctness == "agreement":
        return [_share(completion, label) for completion, label in zip(completions, labels, strict=True)]
    own = [float(label == completion.truth) for completion, label in zip(completions, labels, strict=True)]
    if correctness == "label":
        return own
    groups: defaultdict[Hashable, list[float]] = defaultdict(list)
    for completion, right in zip(completions, own, strict=True):
        groups[completion.question].append(right)
    means = {question: sum(rights) / len(rights) for question, rights in groups.items()}
    return [
        GROUP_WEIGHT * means[completion.question] + (1 - GROUP_WEIGHT) * right
        for completion, right in zip(completions, own, strict=True)
    ]


def _share(completion: Completion, label: str | None) -> float:
    total = sum((completion.votes or {}).values())
    if completion.votes is None or not total:
        raise ValueError(
            f"question {completion.question}: correctness by agreement needs rater votes; use label or group"
        )
    return completion.votes.get(label, 0) / total if label is not None else 0.0
