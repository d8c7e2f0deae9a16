"""Stage 3 by a proper loss: the model's own answers in context, whether they were right, a proper score of its levels.

Nothing is sampled, so a step costs one forward and one backward pass. The losses are pure functions of tensors:
`log_levels` [n, 21] are log-probabilities over the levels (they may leave a little mass to other tokens; where a level
is several tokens they are the sums over its tokens), `correct` [n] is 1 or 0 or a share of raters, results are [n].

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
"""From a confidence and correctness, of shapes that broadcast, to a loss: strictly proper, least where it is honest."""

LOG_CLIP = 0.01
"""Log scores see confidences clipped to [LOG_CLIP, 1 - LOG_CLIP]: the levels 0.00 and 1.00 stay finite."""


def brier_score(confidence: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """(c - y)², in [0, 1], plus the y(1 - y) that a share of raters keeps."""
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
    """The score of the mean level, sum_j q_j l_j: proper for the mean, and content with any spread around it."""

    def loss(log_levels: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
        return score((log_levels.softmax(-1) * _levels(log_levels)).sum(-1), correct)

    return loss


def expected_of_levels(score: Score) -> Score:
    """The expected score of a drawn level, sum_j q_j S(l_j, y) (with the Brier score: ConfTuner, arXiv 2508.18847).

    Proper, but linear in q: its optimum puts all mass on the level nearest the truth, so that greedy answers collapse
    to a few values unless something else keeps the spread.
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
"""What the recipe key `objective` names: from log-probabilities over levels [n, 21] and correctness [n] to [n]."""


def anchored(weight: float, objective: Score = mean_brier) -> LevelLoss:
    """The objective plus `weight` times KL(reference || model) over the levels.

    The reference is a example's `level_target`: the scaled label probability of the model that the stage began with. It
    keeps the distribution in one piece, so that the greedy level moves with the mean instead of collapsing.
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
    """Train on the examples, select on `held_out`: the best step's weights go to `out/best`, the last's to `adapter`
    (`model` where every weight learns)."""

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
