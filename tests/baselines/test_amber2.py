"""AmbER² learns how raters are split, and its ablations are what they say."""

from __future__ import annotations

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from emocaliber.baselines.amber2 import Amber2, Amber2Model
from emocaliber.baselines.estimator import Estimator
from emocaliber.baselines.views import Inputs
from emocaliber.evaluation.distributional import bhattacharyya, distribution
from tests.baselines.synthetic_views import QUICK, views_of

SETTINGS = Amber2(hidden=(16,))
VIEWS, TRUTH, VOTES = views_of()
NEW, _, NEW_VOTES = views_of(seed=1)


def _model(**changed: object) -> Amber2Model:
    torch.manual_seed(0)
    return Amber2Model(msgspec.structs.replace(SETTINGS, **changed), [2, 3], 3)


def _inputs() -> Inputs:
    chance = torch.Generator().manual_seed(1)
    views = (torch.randn(6, 2, generator=chance), torch.randn(6, 3, generator=chance))
    return Inputs(views, torch.ones(2, 6, dtype=torch.bool))


def _gradients(module: nn.Module) -> list[Tensor]:
    return [weight.grad for weight in module.parameters() if weight.grad is not None]


TARGET = torch.tensor([[0.6, 0.4, 0.0], [0.2, 0.2, 0.6]]).repeat(3, 1)


def test_it_is_nearer_to_the_raters_than_cross_entropy_on_the_majority():
    shares = distribution(NEW_VOTES, "votes")
    trained = {
        target: Estimator(msgspec.structs.replace(SETTINGS, target=target), QUICK).fit(VIEWS, TRUTH, votes=VOTES)
        for target in ("shares", "majority")
    }
    close = {
        target: bhattacharyya(shares, estimator.predict_proba(NEW)).mean() for target, estimator in trained.items()
    }
    assert close["shares"] > close["majority"] + 0.005


def test_without_experts_and_guidance_it_is_cross_entropy_on_the_shares():
    model = _model(expert_weight=0.0, guidance_weight=0.0)
    student = model.opinion(_inputs()).projected
    expected = -(TARGET * student.log()).sum(-1).mean()
    assert torch.allclose(model.loss(_inputs(), TARGET, 1), expected, atol=1e-5)


def test_guidance_moves_the_student_and_not_the_experts():
    model = _model(expert_weight=0.0)
    model.loss(_inputs(), TARGET, 1).backward()
    assert all(not gradient.any() for gradient in _gradients(model.experts))
    assert all(gradient.any() for gradient in _gradients(model.student))


def test_the_expert_that_fits_the_raters_better_guides_more():
    off = torch.tensor([[0.1, 0.9], [0.6, 0.2]])
    weights = _model()._weights(off)
    assert torch.allclose(weights.sum(0), torch.ones(2))
    assert weights[0, 0] > 0.9
    assert weights[1, 1] > 0.9
    assert torch.allclose(_model(guidance="fixed")._weights(off), torch.full((2, 2), 0.5))


def test_both_divergences_are_least_at_the_raters_shares():
    for divergence in ("js", "cross-entropy"):
        model = _model(divergence=divergence)
        at = model._divergence(TARGET[:1], TARGET[:1].clamp_min(1e-9).log())
        assert at < model._divergence(TARGET[:1], torch.zeros(1, 3))


def test_uncertainty_is_what_student_and_experts_do_not_agree_on():
    estimator = Estimator(SETTINGS, QUICK).fit(VIEWS, TRUTH, votes=VOTES)
    contradicting = {"clear": VIEWS["clear"], "noisy": np.roll(VIEWS["noisy"], 1, axis=0)}
    assert (
        estimator.predict_opinion(contradicting).uncertainty.mean()
        > estimator.predict_opinion(VIEWS).uncertainty.mean()
    )
