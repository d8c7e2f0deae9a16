"""GRPO with an advantage for each segment of an answer: the label's tokens learn from correctness, the confidence's
from the score (after DCPO, arXiv 2603.09117, and CoCA, arXiv 2603.05881; a reconstruction).

A reward with a correctness term, such as Brier-1, is a sum of the two. Paid whole, a bad confidence also pushes the
label that it stands beside. The trainer is TRL's, whose loss takes advantages of [n, length] from subclasses.

    method: grpo
    advantages: segments
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from emocaliber.stages.calibrate.draws import completions_of, correctness_of, reward_of, rewards_of
from emocaliber.stages.fast.prompt_sharing import SharingGRPOTrainer
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.rewards import stated


def segment_rewards(recipe: Recipe) -> list[Callable[..., list[float | None]]]:
    """Two rewards in TRL's contract that sum to the recipe's: how right the label is, and the rest, the score.

    A malformed answer has a correctness of 0. Raises UserError for a reward that does not exist.
    """
    reward = reward_of(recipe)

    def correctness(completions: list[Any], **columns: Any) -> list[float | None]:
        rows = completions_of(completions, columns)
        readings = [stated(reading.text, reading.candidates) for reading in rows]
        right = correctness_of(
            rows, [None if reading is None else reading[0] for reading in readings], recipe.correctness
        )
        return [0.0 if reading is None else share for reading, share in zip(readings, right, strict=True)]

    def score(completions: list[Any], **columns: Any) -> list[float | None]:
        paid = rewards_of(reward, completions_of(completions, columns), recipe.correctness)
        right = correctness(completions, **columns)
        return [reading - (share or 0.0) for reading, share in zip(paid, right, strict=True)]

    return [correctness, score]


def confidence_tokens(tokens: Sequence[str], opening: str, closing: str) -> list[bool]:
    """Which of an answer's tokens, given as texts, reach into its last `opening`...`closing`.

    Every token where there is none: a malformed answer is one segment, which learns from the score. What follows an
    opening that is never closed belongs to it.
    """
    text = "".join(tokens)
    start = text.rfind(opening)
    if start < 0:
        return [True] * len(tokens)
    closed = text.find(closing, start)
    end = len(text) if closed < 0 else closed + len(closing)
    within, place = [], 0
    for token in tokens:
        within.append(place < end and place + len(token) > start)
        place += len(token)
    return within


class SegmentTrainer(SharingGRPOTrainer):
    """GRPO whose two rewards, of `segment_rewards`, each move the tokens that earned them; `tags` stand around the
    confidence. Nothing is divided by a deviation."""

    def __init__(self, *arguments: Any, tags: tuple[str, str], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.tags = tags

    def _calculate_rewards(self, *arguments: Any) -> torch.Tensor:
        """Every process's rewards [n, 2], kept for the segments."""
        earned: torch.Tensor = super()._calculate_rewards(*arguments)
        self._earned = earned
        return earned

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        groups = self._earned.view(-1, int(self.num_generations or 1), 2)
        advantages = (groups - groups.mean(1, keepdim=True)).view(-1, 2)
        own = len(batch["completion_ids"])
        mine = advantages[self.accelerator.process_index * own :][:own]
        confidence = self._confidence_mask(batch["completion_ids"])
        batch["advantages"] = torch.where(confidence, mine[:, 1:], mine[:, :1])
        return batch

    def _confidence_mask(self, ids: torch.Tensor) -> torch.Tensor:
        processor: Any = self.processing_class
        rows = [confidence_tokens(processor.tokenizer.batch_decode(row[:, None]), *self.tags) for row in ids]
        return torch.tensor(rows, device=ids.device)
