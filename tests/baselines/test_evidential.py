"""The evidential networks' losses are the papers', and what is ours does what it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from emocaliber.baselines.evidential import Ecml, Etmc, EvidentialModel, Tmc
from emocaliber.baselines.fusion import degree_of_conflict, reduced_dempster
from emocaliber.baselines.losses import digamma_cross_entropy, misleading_evidence
from emocaliber.baselines.opinions import to_dirichlet, vacuous
from emocaliber.baselines.views import Inputs, Model

CHANCE = torch.Generator().manual_seed(1)
INPUTS = Inputs(
    (torch.randn(8, 2, generator=CHANCE), torch.randn(8, 3, generator=CHANCE)), torch.ones(2, 8, dtype=torch.bool)
)
TARGET = torch.eye(4)[torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])]


def _model(settings: Tmc | Etmc | Ecml) -> EvidentialModel:
    torch.manual_seed(0)
    model: Model = settings.build([2, 3], 4)
    assert isinstance(model, EvidentialModel)
    return model


def _term(concentration: Tensor, weight: float) -> Tensor:
    return (digamma_cross_entropy(concentration, TARGET) + weight * misleading_evidence(concentration, TARGET)).mean()


def test_tmc_s_loss_is_the_paper_s_over_views_and_what_they_say_together():
    model = _model(Tmc(hidden=(), evidence="softplus", objective="digamma", kl_weight=1.0, annealing=50))
    first, second = model.opinions(INPUTS)
    terms = [_term(to_dirichlet(each), 5 / 50) for each in (first, second, reduced_dempster([first, second]))]
    assert torch.allclose(model.loss(INPUTS, TARGET, epoch=5), torch.stack(terms).sum())


def test_ecml_s_conflict_weighs_as_if_the_terms_were_averaged():
    with_conflict, without = (_model(Ecml(hidden=(), conflict_weight=weight)) for weight in (2.0, 0.0))
    first, second = without.opinions(INPUTS)
    added = with_conflict.loss(INPUTS, TARGET, 1) - without.loss(INPUTS, TARGET, 1)
    assert torch.allclose(added, 3 * 2.0 * degree_of_conflict(first, second).mean(), atol=1e-5)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.0])
def test_a_temperature_scales_the_dirichlet_s_mean_and_leaves_the_vacuous_vacuous(temperature: float):
    model = _model(Tmc(hidden=()))
    expected = (model.opinion(INPUTS).projected.log() / temperature).softmax(-1)
    assert torch.allclose(model.opinion(INPUTS, temperature).projected, expected, atol=1e-5)
    nothing = Inputs(INPUTS.views, torch.zeros(2, 8, dtype=torch.bool))
    assert torch.allclose(model.opinion(nothing, temperature).uncertainty, vacuous(model.opinion(INPUTS)).uncertainty)


def test_etmc_hears_the_joined_views_only_where_all_are_there():
    model = _model(Etmc(hidden=()))
    part = Inputs(INPUTS.views, torch.stack([torch.ones(8, dtype=torch.bool), torch.zeros(8, dtype=torch.bool)]))
    alone = model.opinions(INPUTS)[0]
    assert torch.allclose(model.opinion(part).projected, alone.projected, atol=1e-6)


def test_evidence_beyond_what_float32_multiplies_stays_finite():
    model = _model(Tmc(hidden=()))
    huge = Inputs(tuple(1e4 * view for view in INPUTS.views), INPUTS.present)
    loss = model.loss(huge, TARGET, 1)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(model.opinion(huge, 0.05).projected).all()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)
