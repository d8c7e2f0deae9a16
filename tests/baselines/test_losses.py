"""The losses are what they say: expectations under the Dirichlet, checked by sampling and by quadrature."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from emocaliber.baselines.losses import (
    annealing,
    confidence_regression,
    digamma_cross_entropy,
    jensen_shannon,
    kl_to_uniform,
    log_evidence,
    misleading_evidence,
    squared_error,
    trusted_cross_entropy,
)

ALPHA = torch.tensor([[1.0, 1.0, 1.0], [5.0, 1.0, 1.5], [1.0, 30.0, 2.0]], dtype=torch.float64)
LABEL = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
SHARES = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
LOSSES = [squared_error, log_evidence, digamma_cross_entropy]


def _drawn() -> Tensor:
    torch.manual_seed(0)
    return Dirichlet(ALPHA).sample(torch.Size([50_000]))


def test_the_squared_error_is_its_expectation_under_the_dirichlet():
    expected = ((LABEL - _drawn()) ** 2).sum(-1).mean(0)
    assert torch.allclose(squared_error(ALPHA, LABEL), expected, atol=1e-2)


def test_the_digamma_loss_is_the_expected_cross_entropy():
    expected = -(SHARES * _drawn().log()).sum(-1).mean(0)
    assert torch.allclose(digamma_cross_entropy(ALPHA, SHARES), expected, rtol=0.03)


def test_the_log_loss_is_the_log_score_of_the_mean():
    mean = ALPHA / ALPHA.sum(-1, keepdim=True)
    assert torch.allclose(log_evidence(ALPHA, SHARES), -(SHARES * mean.log()).sum(-1))


def test_the_divergence_is_torch_s_own():
    expected = kl_divergence(Dirichlet(ALPHA), Dirichlet(torch.ones_like(ALPHA)))
    assert torch.allclose(kl_to_uniform(ALPHA), expected)


def test_evidence_for_the_right_label_is_not_misleading():
    assert misleading_evidence(torch.tensor([[50.0, 1.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])).item() == 0


def test_evidence_for_a_wrong_label_is():
    assert misleading_evidence(torch.tensor([[1.0, 50.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])).item() > 1


def test_annealing_rises_to_one_and_stays():
    assert [annealing(epoch, 4) for epoch in (1, 2, 4, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert annealing(1, 0) == 1.0


@pytest.mark.parametrize("loss", [*LOSSES, misleading_evidence])
@pytest.mark.parametrize("evidence", [0.0, 1e6])
def test_float32_agrees_with_float64(loss: Callable[[Tensor, Tensor], Tensor], evidence: float):
    alpha = 1 + evidence * torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 1.0]])
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.3, 0.7]])
    assert torch.allclose(loss(alpha, target).double(), loss(alpha.double(), target.double()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [*LOSSES, misleading_evidence])
def test_gradients_are_finite_at_large_evidence(loss: Callable[[Tensor, Tensor], Tensor]):
    alpha = torch.tensor([[1e6, 1.0, 1e6]], requires_grad=True)
    loss(alpha, torch.tensor([[0.0, 1.0, 0.0]])).sum().backward()
    assert alpha.grad is not None
    assert torch.isfinite(alpha.grad).all()


def test_a_confidence_is_best_at_the_true_class_s_probability_and_does_not_pull_it():
    probabilities = torch.tensor([[0.7, 0.3]], requires_grad=True)
    stated = torch.tensor([0.4], requires_grad=True)
    confidence_regression(stated, probabilities, torch.tensor([[1.0, 0.0]])).sum().backward()
    assert probabilities.grad is None
    assert stated.grad is not None
    assert stated.grad.item() == pytest.approx(2 * (0.4 - 0.7))


def test_the_trusted_cross_entropy_of_an_honest_confidence_is_the_cross_entropy():
    logs = torch.tensor([[0.7, 0.3]]).log()
    loss = trusted_cross_entropy(logs, torch.tensor([0.7]), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(-logs[0, 0].item())


def test_the_jensen_shannon_divergence_is_zero_for_equals_and_ln_2_for_opposites():
    first, other = torch.tensor([[1.0, 0.0], [0.3, 0.7]]), torch.tensor([[0.0, 1.0], [0.3, 0.7]])
    assert jensen_shannon(first, other).tolist() == pytest.approx([0.6931, 0.0], abs=1e-4)
