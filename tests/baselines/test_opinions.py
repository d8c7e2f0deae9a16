"""An opinion and its Dirichlet say the same, at any evidence."""

from __future__ import annotations

import pytest
import torch

from emocaliber.baselines.opinions import (
    Opinion,
    agreed,
    checked,
    discounted,
    dogmatic,
    from_dirichlet,
    from_evidence,
    to_dirichlet,
    to_evidence,
    vacuous,
)
from tests.baselines.opinion_samples import close, opinion, opinions


def test_belief_and_uncertainty_sum_to_one():
    checked(opinions(1)[0], tolerance=1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 1e6])
def test_evidence_survives_the_way_there_and_back_in_float32(size: float):
    evidence = torch.tensor([[size, 0.0, size / 3, 2 * size]])
    assert torch.allclose(to_evidence(from_evidence(evidence)), evidence, rtol=1e-5)


def test_the_projected_probability_is_the_mean_of_the_dirichlet():
    sample = opinions(1)[0]
    alpha = to_dirichlet(sample)
    assert torch.allclose(sample.projected, alpha / alpha.sum(-1, keepdim=True))


def test_a_dirichlet_survives_the_way_there_and_back_with_another_base_rate_and_prior_weight():
    rates, alpha = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([[1.5, 0.5, 30.0]])
    assert torch.allclose(to_dirichlet(from_dirichlet(alpha, rates, 2.0), 2.0), alpha)


def test_less_than_no_evidence_is_refused():
    with pytest.raises(ValueError, match="below prior weight"):
        from_dirichlet(torch.tensor([[0.5, 2.0]]))


def test_no_evidence_is_the_vacuous_opinion():
    assert close(from_evidence(torch.zeros(3, 4)), vacuous(from_evidence(torch.ones(3, 4))))


def test_the_evidence_of_a_dogmatic_opinion_is_finite_and_huge():
    evidence = to_evidence(dogmatic(torch.tensor([[0.9, 0.1, 0.0]])))
    assert torch.isfinite(evidence).all()
    assert evidence[0, 0] > 1e18
    assert (evidence[0] / evidence.sum()).tolist() == pytest.approx([0.9, 0.1, 0.0])


def test_full_trust_changes_nothing_and_no_trust_leaves_nothing():
    sample = opinions(1)[0]
    rows = sample.uncertainty
    assert close(discounted(sample, torch.ones_like(rows)), sample)
    assert close(discounted(sample, torch.zeros_like(rows)), vacuous(sample))


def test_trust_in_a_chain_multiplies():
    sample = opinions(1)[0]
    trust = torch.full_like(sample.uncertainty, 0.5)
    assert close(discounted(discounted(sample, trust), trust), discounted(sample, trust**2))


def test_members_that_agree_leave_no_uncertainty():
    share = torch.tensor([[0.7, 0.3]])
    assert agreed(torch.stack([share, share]), share).uncertainty.item() == pytest.approx(0.0, abs=1e-6)


def test_members_that_contradict_each_other_leave_uncertainty_and_project_as_wanted():
    members = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]])
    fused = agreed(members, members.mean(0))
    assert fused.uncertainty.item() == pytest.approx(0.8)
    assert torch.allclose(fused.projected, members.mean(0))


@pytest.mark.parametrize(
    "wrong", [opinion([0.5, 0.6], 0.1), opinion([-0.1, 0.6], 0.5), opinion([0.5, 0.5], float("nan"))]
)
def test_what_is_no_opinion_is_named(wrong: Opinion):
    with pytest.raises(ValueError, match="row 0 is no opinion"):
        checked(wrong)
