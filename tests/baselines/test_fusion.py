"""The algebra of the fusion operators, their neutral elements, and what they do at the edges."""

from __future__ import annotations

from functools import reduce

import pytest
import torch

from emocaliber.baselines.fusion import (
    Fusion,
    averaging,
    cumulative,
    degree_of_conflict,
    dempster_conflict,
    mean_conflict,
    reduced_dempster,
    running_averaging,
    weighted,
)
from emocaliber.baselines.opinions import Opinion, checked, from_evidence, to_evidence, vacuous
from tests.baselines.opinion_samples import close, opinion, opinions

EVERY = [reduced_dempster, cumulative, averaging, weighted, running_averaging]


@pytest.mark.parametrize("fuse", EVERY)
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_result_is_an_opinion(fuse: Fusion, count: int):
    checked(fuse(opinions(count), None), tolerance=1e-9)


@pytest.mark.parametrize("fuse", [reduced_dempster, cumulative, averaging, weighted])
def test_the_order_of_three_sources_does_not_matter(fuse: Fusion):
    first, second, third = opinions(3)
    assert close(fuse([first, second, third], None), fuse([third, first, second], None))


def test_the_order_of_two_sources_does_not_matter_to_the_running_average_and_that_of_three_does():
    first, second, third = opinions(3)
    assert close(running_averaging([first, second]), running_averaging([second, first]))
    assert not close(running_averaging([first, second, third]), running_averaging([third, first, second]))


@pytest.mark.parametrize("fuse", [reduced_dempster, cumulative])
def test_fusing_pairwise_is_fusing_at_once(fuse: Fusion):
    sources = opinions(4)
    assert close(reduce(lambda first, other: fuse([first, other], None), sources), fuse(sources, None))


@pytest.mark.parametrize("fuse", [reduced_dempster, cumulative, weighted])
def test_a_source_that_knows_nothing_is_neutral(fuse: Fusion):
    sample = opinions(1)[0]
    assert close(fuse([sample, vacuous(sample)], None), sample)


@pytest.mark.parametrize("fuse", [averaging, weighted, running_averaging])
def test_a_source_that_repeats_another_adds_nothing(fuse: Fusion):
    sample = opinions(1)[0]
    assert close(fuse([sample, sample, sample], None), sample)


@pytest.mark.parametrize("fuse", EVERY)
def test_an_absent_source_counts_for_nothing_whatever_it_says(fuse: Fusion):
    first, second, third = opinions(3)
    here = torch.ones(3, *first.uncertainty.shape, dtype=torch.bool)
    for place, others in ((0, [second, third]), (1, [first, third]), (2, [first, second])):
        present = here.clone()
        present[place] = False
        assert close(fuse([first, second, third], present), fuse(others, None))


@pytest.mark.parametrize("fuse", EVERY)
def test_nobody_present_is_the_vacuous_opinion(fuse: Fusion):
    sources = opinions(2)
    nobody = torch.zeros(2, *sources[0].uncertainty.shape, dtype=torch.bool)
    assert close(fuse(sources, nobody), vacuous(sources[0]))


def test_dempster_is_the_formula_of_the_paper():
    first, second = opinions(2)
    outer = first.belief[:, :, None] * second.belief[:, None, :]
    conflict = outer.sum((1, 2)) - outer.diagonal(dim1=1, dim2=2).sum(-1)
    u1, u2 = first.uncertainty[:, None], second.uncertainty[:, None]
    belief = (first.belief * second.belief + first.belief * u2 + second.belief * u1) / (1 - conflict)[:, None]
    expected = Opinion(belief, first.uncertainty * second.uncertainty / (1 - conflict), first.base_rate)
    rows = conflict < 1 - 1e-6  # nearer to total conflict this way of computing it has lost its digits
    fused = reduced_dempster([first, second])
    assert torch.allclose(fused.belief[rows], expected.belief[rows], atol=1e-8)
    assert torch.allclose(dempster_conflict([first, second]), conflict, atol=1e-9)


def test_dempster_multiplies_one_plus_evidence_over_prior_weight():
    first, second = (from_evidence(torch.tensor([e], dtype=torch.float64)) for e in ([3.0, 0.0, 6.0], [1.5, 3.0, 0.0]))
    expected = torch.tensor([[3 * (2 * 1.5 - 1), 3 * (1 * 2 - 1), 3 * (3 * 1 - 1)]], dtype=torch.float64)
    assert torch.allclose(to_evidence(reduced_dempster([first, second])), expected)


def test_cumulative_fusion_adds_evidence_and_averaging_averages_it():
    first, second = (from_evidence(torch.tensor([e], dtype=torch.float64)) for e in ([3.0, 0.0, 6.0], [1.0, 2.0, 0.0]))
    added = torch.tensor([[4.0, 2.0, 6.0]], dtype=torch.float64)
    assert torch.allclose(to_evidence(cumulative([first, second])), added)
    assert torch.allclose(to_evidence(averaging([first, second])), added / 2)


def test_weighted_fusion_weighs_evidence_by_certainty():
    first, second = (from_evidence(torch.tensor([e], dtype=torch.float64)) for e in ([3.0, 0.0, 6.0], [1.0, 2.0, 0.0]))
    c1, c2 = 1 - first.uncertainty.item(), 1 - second.uncertainty.item()
    expected = (c1 * to_evidence(first) + c2 * to_evidence(second)) / (c1 + c2)
    assert torch.allclose(to_evidence(weighted([first, second])), expected)


def test_total_conflict_is_reported_and_leaves_the_vacuous_opinion():
    first, second = opinion([1.0, 0.0], 0.0), opinion([0.0, 1.0], 0.0)
    assert dempster_conflict([first, second]).item() == 1.0
    assert close(reduced_dempster([first, second]), vacuous(first))


def test_near_total_conflict_keeps_its_digits_in_float32():
    first = from_evidence(torch.tensor([[1e6, 0.0]]))
    second = from_evidence(torch.tensor([[0.0, 1e6]]))
    fused = reduced_dempster([first, second])
    assert torch.allclose(fused.belief, torch.tensor([[0.5, 0.5]]), atol=1e-5)
    assert dempster_conflict([first, second]).item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("fuse", [cumulative, averaging, weighted])
def test_dogmatic_sources_outweigh_the_others_and_are_averaged(fuse: Fusion):
    fused = fuse([opinion([1.0, 0.0], 0.0), opinion([0.0, 1.0], 0.0), opinion([0.1, 0.1], 0.8)], None)
    assert close(fused, opinion([0.5, 0.5], 0.0))


@pytest.mark.parametrize("fuse", EVERY)
@pytest.mark.parametrize("evidence", [0.0, 1.0, 1e6])
def test_float32_agrees_with_float64_for_six_views(fuse: Fusion, evidence: float):
    chance = torch.Generator().manual_seed(1)
    sizes = [evidence * torch.rand(50, 4, generator=chance) for _ in range(6)]
    single = fuse([from_evidence(e) for e in sizes], None)
    double = fuse([from_evidence(e.double()) for e in sizes], None)
    assert torch.allclose(single.belief.double(), double.belief, atol=1e-5)
    assert torch.allclose(single.uncertainty.double(), double.uncertainty, rtol=1e-3, atol=1e-37)


@pytest.mark.parametrize("fuse", EVERY)
@pytest.mark.parametrize("evidence", [[0.0, 0.0], [1e6, 0.0], [1e6, 1e6]])
def test_gradients_are_finite(fuse: Fusion, evidence: list[float]):
    learned = torch.tensor([evidence], requires_grad=True)
    other = torch.tensor([[0.0, 1e6]], requires_grad=True)
    fused = fuse([from_evidence(learned), from_evidence(other), from_evidence(learned)], None)
    (fused.projected[0, 0] + fused.uncertainty.sum()).backward()
    for source in (learned, other):
        assert source.grad is not None
        assert torch.isfinite(source.grad).all()


def test_opinions_with_different_base_rates_are_not_fused():
    first = from_evidence(torch.ones(1, 2))
    with pytest.raises(ValueError, match="base rate"):
        cumulative([first, from_evidence(torch.ones(1, 2), torch.tensor([0.9, 0.1]))])


def test_conflict_is_none_for_one_opinion_and_all_for_dogmatic_opposites():
    first, second = opinion([1.0, 0.0], 0.0), opinion([0.0, 1.0], 0.0)
    assert degree_of_conflict(first, first).item() == 0
    assert degree_of_conflict(first, second).item() == 1
    assert degree_of_conflict(first, vacuous(second)).item() == 0
    assert mean_conflict([first, second, first]).item() == pytest.approx(2 / 3)
    assert mean_conflict([first]).item() == 0
