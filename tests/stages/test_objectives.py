"""Proper losses are least where the stated distribution is honest."""

from __future__ import annotations

import pytest
import torch

from emocaliber.core.prompting import LEVELS
from emocaliber.stages.calibrate.proper import OBJECTIVES, anchored, mean_brier
from emocaliber.stages.recipe import Objective
from emocaliber.stages.targets import spread_over_levels

MEANS: tuple[Objective, ...] = ("mean-brier", "mean-log", "mean-spherical")
EXPECTED: tuple[Objective, ...] = ("expected-brier", "expected-log", "expected-spherical")


def logs(confidence: float, spread: float = 0.05) -> torch.Tensor:
    return torch.tensor([spread_over_levels(confidence, spread)]).clamp(min=1e-9).log()


def risk(objective: Objective, log_levels: torch.Tensor, p: float) -> torch.Tensor:
    """The expected loss where the answer is right with probability p."""
    loss = OBJECTIVES[objective]
    ones = torch.ones(len(log_levels))
    return p * loss(log_levels, ones) + (1 - p) * loss(log_levels, 0 * ones)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("p", [0.05, 0.1, 0.35, 0.5, 0.8, 0.95])
def test_the_expected_loss_is_least_at_the_true_probability(objective: Objective, p: float):
    risks = [float(risk(objective, logs(c, 0.0), p)) for c in LEVELS]
    assert LEVELS[min(range(21), key=risks.__getitem__)] == pytest.approx(p)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("p", [0.1, 0.85])
def test_gradient_descent_on_it_arrives_at_the_true_probability(objective: Objective, p: float):
    scores = torch.zeros(1, 21, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.5)
    for _ in range(120):
        optimizer.zero_grad()
        risk(objective, scores.log_softmax(-1), p).sum().backward()
        optimizer.step()
    mean = float((scores.softmax(-1) * torch.tensor(LEVELS)).sum())
    assert mean == pytest.approx(p, abs=0.03)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_distribution_over_levels_beats_the_honest_level(objective: Objective):
    torch.manual_seed(0)
    drawn = (torch.randn(2000, 21) * 3).log_softmax(-1)
    for p in (0.2, 0.65):
        assert float(risk(objective, drawn, p).min()) >= float(risk(objective, logs(p, 0.0), p)) - 1e-5


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_and_slopes_are_finite_at_the_ends(objective: Objective):
    for level in (0, 20):
        scores = torch.full((1, 21), -30.0)
        scores[0, level] = 30.0
        scores.requires_grad_()
        for correct in (torch.ones(1), torch.zeros(1)):
            loss = OBJECTIVES[objective](scores.log_softmax(-1), correct)
            loss.sum().backward()
            assert torch.isfinite(loss).all()
            assert scores.grad is not None
            assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("objective", MEANS)
def test_an_objective_of_the_mean_does_not_care_for_the_spread(objective: Objective):
    narrow, wide = (OBJECTIVES[objective](logs(0.5, spread), torch.ones(1)) for spread in (0.02, 0.1))
    assert torch.allclose(narrow, wide, atol=1e-3)


@pytest.mark.parametrize("objective", EXPECTED)
def test_an_expected_objective_is_paid_for_giving_up_the_spread(objective: Objective):
    assert risk(objective, logs(0.5, 0.02), 0.5) < risk(objective, logs(0.5, 0.15), 0.5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_mass_on_other_tokens_changes_nothing_but_the_scale(objective: Objective):
    loss = OBJECTIVES[objective]
    assert torch.allclose(loss(logs(0.7) - 2.0, torch.ones(1)), loss(logs(0.7), torch.ones(1)), atol=1e-6)


def test_the_anchor_is_free_where_nothing_moved_and_costs_where_it_did():
    reference = torch.tensor([spread_over_levels(0.5, 0.05)])
    loss, free = anchored(2.0), mean_brier(logs(0.5), torch.ones(1))
    assert torch.allclose(loss(logs(0.5), reference, torch.ones(1)), free, atol=1e-4)
    assert loss(logs(0.9), reference, torch.ones(1)) > mean_brier(logs(0.9), torch.ones(1)) + 1
