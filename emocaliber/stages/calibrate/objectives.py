"""Proper losses on the model's distribution over confidence levels, for an answer known to be right or wrong.

Pure functions of tensors; no trainer here. `log_levels` [n, 21] are log-probabilities over the levels (they may leave a
little mass to other tokens), `correct` [n] is 1 or 0, results are [n].
"""

from __future__ import annotations

import torch

from emocaliber.prompting import LEVELS
from emocaliber.stages.soft_targets import LevelLoss


def mean_brier(log_levels: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """The Brier score of the mean level, (sum_j q_j l_j - y)^2: proper for the mean, and content with any spread.

    The expected Brier score of a drawn level (ConfTuner, arXiv 2508.18847) is linear in q instead: its optimum puts all
    mass on one level, and greedy answers collapse to a few values.
    """
    mean = (log_levels.softmax(-1) * _levels(log_levels)).sum(-1)
    score: torch.Tensor = (mean - correct) ** 2
    return score


def anchored(weight: float) -> LevelLoss:
    """The Brier score of the mean level plus `weight` times KL(reference || model) over the levels.

    The reference is a lesson's `level_target`: the mean level of the model that the stage started from, spread anew. It
    keeps the distribution in one piece, so that the greedy level moves with the mean instead of collapsing.
    """

    def anchored_loss(log_levels: torch.Tensor, reference: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
        entropy = torch.special.entr(reference).sum(-1)
        divergence = -(reference * log_levels).sum(-1) - entropy
        loss: torch.Tensor = mean_brier(log_levels, correct) + weight * divergence
        return loss

    return anchored_loss


def _levels(like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(LEVELS, dtype=like.dtype, device=like.device)
