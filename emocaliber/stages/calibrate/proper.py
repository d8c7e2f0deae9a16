"""Stage 3 by a proper loss: a proper score of the model's distribution over confidence levels, given its own answers
and whether they are correct.

Nothing is sampled, so a step costs one forward and one backward pass. The losses are pure functions of tensors:
`log_levels` [n, 21] are log-probabilities of the levels (summed over its tokens where a level has several; they need
not sum to 1, as other tokens may have some probability), `correct` [n] is correctness in [0, 1], results are [n].

    emocaliber train recipes/tiny/3-calibrate.yaml objective=mean-brier --adapter DIR --out out/3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from emocaliber.core.prompting import LEVELS
from emocaliber.models.location import Question
from emocaliber.stages.calibrate.held_out import HeldOutCallback
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.recipe import Objective, Recipe
from emocaliber.stages.soft_targets import LevelLoss
from emocaliber.stages.supervised import train_supervised

Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From confidence and correctness, of shapes that broadcast, to a loss, lower is better."""

LOG_CLIP = 0.01
"""Log scores see confidences clipped to [LOG_CLIP, 1 - LOG_CLIP]: the levels 0.00 and 1.00 stay finite."""


def brier_score(confidence: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """y(1 - c)² + (1 - y)c², in [0, 1]; equal to (c - y)² + y(1 - y)."""
    score: torch.Tensor = correct * (1 - confidence) ** 2 + (1 - correct) * confidence**2
    return score


def log_score(confidence: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """-y ln c - (1 - y) ln(1 - c) in nats, in [0, 4.61]."""
    c = confidence.clamp(LOG_CLIP, 1 - LOG_CLIP)
    score: torch.Tensor = -(correct * c.log() + (1 - correct) * (-c).log1p())
    return score


def spherical_score(confidence: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """1 less the spherical score of two outcomes (Gneiting & Raftery 2007, section 4.2), in [0, 1]."""
    length = (confidence**2 + (1 - confidence) ** 2).sqrt()
    score: torch.Tensor = 1 - (correct * confidence + (1 - correct) * (1 - confidence)) / length
    return score


def of_mean_level(score: Score) -> Score:
    """The score of the mean level, sum_j q_j l_j: proper for the mean, and indifferent to the spread around it."""

    def loss(log_levels: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
        return score((log_levels.softmax(-1) * _levels(log_levels)).sum(-1), correct)

    return loss


def expected_of_levels(score: Score) -> Score:
    """The expected score of a drawn level, sum_j q_j S(l_j, y) (with the Brier score: ConfTuner, arXiv 2508.18847).

    Proper, but linear in q: its optimum puts all probability on the level nearest to the true one, so that greedy
    answers collapse to a few values unless something else, such as `anchored`, prevents it.
    """

    def loss(log_levels: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
        scores = score(_levels(log_levels), correct.unsqueeze(-1))
        expected: torch.Tensor = (log_levels.softmax(-1) * scores).sum(-1)
        return expected

    return loss


mean_brier = of_mean_level(brier_score)

OBJECTIVES: dict[Objective, Score] = {
    "mean-brier": mean_brier,
    "mean-log": of_mean_level(log_score),
    "mean-spherical": of_mean_level(spherical_score),
    "expected-brier": expected_of_levels(brier_score),
    "expected-log": expected_of_levels(log_score),
    "expected-spherical": expected_of_levels(spherical_score),
}
"""Losses by the recipe key `objective`: from log-probabilities of levels [n, 21] and correctness [n] to [n]."""


def anchored(weight: float, objective: Score = mean_brier) -> LevelLoss:
    """The objective plus `weight` times KL(reference || model) over the levels.

    The reference is an example's `level_target`: the temperature-scaled label probability of the starting model, spread
    over the levels. It keeps the distribution unimodal, so that the greedy level follows the mean without collapsing.
    """

    def anchored_loss(log_levels: torch.Tensor, reference: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
        entropy = torch.special.entr(reference).sum(-1)
        divergence = -(reference * log_levels).sum(-1) - entropy
        loss: torch.Tensor = objective(log_levels, correct) + weight * divergence
        return loss

    return anchored_loss


def _levels(like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(LEVELS, dtype=like.dtype, device=like.device)


def calibrate_by_proper_loss(
    recipe: Recipe,
    examples: Sequence[TrainingExample],
    held_out: Sequence[TrainingExample],
    model: str,
    adapter: Path | None,
    out: Path,
) -> None:
    """Train on the examples. The weights of the best step on `held_out` go to `out/best`, the last step's to
    `out/adapter` (`out/model` with full fine-tuning)."""

    def callback(trainer: Trainer, question: Question, processor: Any) -> HeldOutCallback:
        return HeldOutCallback(trainer, recipe, held_out, question, processor, out)

    train_supervised(
        recipe,
        examples,
        model,
        adapter,
        out,
        title="calibrate",
        level_loss=anchored(recipe.anchor, OBJECTIVES[recipe.objective]),
        callback_of=callback,
    )
