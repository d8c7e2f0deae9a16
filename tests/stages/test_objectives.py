"""Proper losses are least where the stated distribution is honest."""

from __future__ import annotations

import pytest
import torch

from emocaliber.prompting import LEVELS
from emocaliber.stages.calibrate.objectives import anchored, mean_brier
from emocaliber.stages.targets import spread_over_levels

LEVEL_VALUES = torch.tensor(LEVELS)


def logs(confidence: float, spread: float = 0.05) -> torch.Tensor:
    return torch.tensor([spread_over_levels(confidence, spread)]).clamp(min=1e-9).log()


@pytest.mark.parametrize("p", [0.1, 0.35, 0.5, 0.8])
def test_the_expected_loss_is_least_at_the_true_probability(
    p: float,
) -> None:
    def risk(c: float) -> float:
        right, wrong = mean_brier(logs(c), torch.ones(1)), mean_brier(logs(c), torch.zeros(1))
        return float(p * right + (1 - p) * wrong)

    assert min(LEVELS, key=risk) == pytest.approx(p, abs=0.051)


def test_the_mean_brier_does_not_care_for_the_spread() -> None:
    narrow, wide = (mean_brier(logs(0.5, spread), torch.ones(1)) for spread in (0.02, 0.1))
    assert torch.allclose(narrow, wide, atol=1e-3)


def test_the_anchor_is_free_where_nothing_moved_and_costs_where_it_did() -> None:
    reference = torch.tensor([spread_over_levels(0.5, 0.05)])
    loss, free = anchored(2.0), mean_brier(logs(0.5), torch.ones(1))
    assert torch.allclose(loss(logs(0.5), reference, torch.ones(1)), free, atol=1e-4)
    assert loss(logs(0.9), reference, torch.ones(1)) > mean_brier(logs(0.9), torch.ones(1)) + 1
