"""Fusing opinions on one label: Dempster's reduced rule, and the belief fusions of subjective logic.

Not a network. Pure functions of a sequence of V opinions; none overflows or divides by zero, dogmatic and vacuous
sources included. What a source does not know may be left out by `present` [V, ...], true where it has something to say.

| operator | evidence of the result | vacuous source | order matters |
|---|---|---|---|
| reduced_dempster (TMC) | W (product of (1 + e/W) - 1) | neutral | no |
| cumulative | sum of e | neutral | no |
| averaging | mean of e | counts as e = 0 | no |
| running_averaging (ECML) | ((e1 + e2)/2 + e3)/2 ... | counts as e = 0 | from three on |
| weighted | mean of e weighted by 1 - u | neutral | no |

    python -m pytest tests/baselines/test_fusion.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

from emocaliber.baselines.opinions import Opinion, stacked

Fusion = Callable[[Sequence[Opinion], Tensor | None], Opinion]
_SMALL_RATIO = 1.0  # below it expm1 keeps what a difference of two exponentials would lose


def reduced_dempster(sources: Sequence[Opinion], present: Tensor | None = None) -> Opinion:
    """Dempster's rule where mass lies on single labels and on "any": TMC (Han et al. 2021), for V sources.

    For two, b = (b1 b2 + b1 u2 + b2 u1) / (1 - C), u = u1 u2 / (1 - C), C the mass on contradictions. Computed for all
    at once from the products of plausibilities b + u, in logarithms, so it is commutative, associative and does not
    underflow. Under total conflict (C = 1) the result is vacuous; `dempster_conflict` reports C.
    """
    log_plausible, log_unknown, impossible, rates = _logarithms(sources, present)
    peak = log_plausible.amax(-1, keepdim=True)
    unknown = torch.exp(log_unknown[..., None] - peak)
    ratio = log_plausible - log_unknown[..., None]
    near = unknown * torch.expm1(ratio.clamp_max(_SMALL_RATIO))
    belief = torch.where(ratio < _SMALL_RATIO, near, torch.exp(log_plausible - peak) - unknown).clamp_min(0.0)
    total = belief.sum(-1) + unknown[..., 0]
    belief, uncertainty = belief / total[..., None], unknown[..., 0] / total
    belief = torch.where(impossible[..., None], torch.zeros_like(belief), belief)
    return Opinion(belief, torch.where(impossible, torch.ones_like(uncertainty), uncertainty), rates)


def dempster_conflict(sources: Sequence[Opinion], present: Tensor | None = None) -> Tensor:
    """The mass C [...] in [0, 1] that Dempster's rule finds on contradictions among all sources; 1 is total."""
    log_plausible, log_unknown, impossible, _ = _logarithms(sources, present)
    plausible, unknown = torch.exp(log_plausible), torch.exp(log_unknown)
    conflict = 1 - (plausible - unknown[..., None]).sum(-1) - unknown
    return torch.where(impossible, torch.ones_like(conflict), conflict.clamp(0.0, 1.0))


def cumulative(sources: Sequence[Opinion], present: Tensor | None = None) -> Opinion:
    """Cumulative belief fusion: independent sources, whose evidence adds up (Jøsang 2016, section 12.3).

    Where any source is dogmatic, the dogmatic ones are averaged and the others do not count.
    """
    beliefs, unknown, rates = _with_absent_vacuous(sources, present)
    weight, least = _relative(unknown)
    total = least + (weight * (1 - unknown)).sum(0)
    return Opinion((weight[..., None] * beliefs).sum(0) / total[..., None], least / total, rates)


def averaging(sources: Sequence[Opinion], present: Tensor | None = None) -> Opinion:
    """Averaging belief fusion: dependent sources, whose evidence is averaged (Jøsang 2016, section 12.4).

    A vacuous source counts as one without evidence; an absent one is left out. Vacuous where all are absent.
    """
    beliefs, unknown, rates = _with_absent_vacuous(sources, present)
    here = torch.ones_like(unknown) if present is None else present.to(unknown.dtype)
    return _mean_of_evidence(beliefs, unknown, here, rates)


def weighted(sources: Sequence[Opinion], present: Tensor | None = None) -> Opinion:
    """Weighted belief fusion: evidence averaged with weight 1 - u (Jøsang 2016, section 12.5)."""
    beliefs, unknown, rates = _with_absent_vacuous(sources, present)
    return _mean_of_evidence(beliefs, unknown, 1 - unknown, rates)


def running_averaging(sources: Sequence[Opinion], present: Tensor | None = None) -> Opinion:
    """ECML's fusion as in its public code: each source in turn is averaged with what came before (Xu et al. 2024).

    The first two of V sources weigh 2^(1-V), the last one half: the order of the views matters from three on. An absent
    source leaves the average as it is.
    """
    beliefs, unknown, rates = _with_absent_vacuous(sources, present)
    opinions = [Opinion(b, u, rates) for b, u in zip(beliefs, unknown, strict=True)]
    if present is None:
        return reduce(lambda first, other: averaging([first, other]), opinions)
    fused, fused_present = opinions[0], present[0]
    for following, following_present in zip(opinions[1:], present[1:], strict=True):
        fused, fused_present = (
            averaging([fused, following], torch.stack([fused_present, following_present])),
            fused_present | following_present,
        )
    return fused


def degree_of_conflict(first: Opinion, other: Opinion) -> Tensor:
    """ECML's conflict [...] in [0, 1]: total variation of the projections times both certainties (Xu et al. 2024)."""
    distance = (first.projected - other.projected).abs().sum(-1) / 2
    return distance * (1 - first.uncertainty) * (1 - other.uncertainty)


def mean_conflict(sources: Sequence[Opinion]) -> Tensor:
    """`degree_of_conflict` averaged over all pairs [...]; 0 for one source."""
    pairs = [(first, other) for i, first in enumerate(sources) for other in sources[i + 1 :]]
    if not pairs:
        return torch.zeros_like(sources[0].uncertainty)
    return torch.stack([degree_of_conflict(first, other) for first, other in pairs]).mean(0)


def _with_absent_vacuous(sources: Sequence[Opinion], present: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    beliefs, unknown, rates = stacked(sources)
    if present is None:
        return beliefs, unknown, rates
    beliefs = torch.where(present[..., None], beliefs, torch.zeros_like(beliefs))
    return beliefs, torch.where(present, unknown, torch.ones_like(unknown)), rates


def _relative(unknown: Tensor) -> tuple[Tensor, Tensor]:
    """Weights 1/u [V, ...] relative to the greatest, and the least u [...]; where it is 0, the dogmatic weigh 1."""
    least = unknown.amin(0)
    sole = unknown == least
    ones = torch.ones_like(unknown)
    return torch.where(sole, ones, least / torch.where(sole, ones, unknown)), least


def _mean_of_evidence(beliefs: Tensor, unknown: Tensor, share: Tensor, rates: Tensor) -> Opinion:
    """The opinion of the evidence averaged with weights `share` [V, ...]; vacuous where none weighs anything."""
    weight, least = _relative(unknown)
    weight = weight * share
    total = weight.sum(0)
    silent = total <= 0
    total = torch.where(silent, torch.ones_like(total), total)
    belief = (weight[..., None] * beliefs).sum(0) / total[..., None]
    uncertainty = torch.where(silent, torch.ones_like(total), least * share.sum(0) / total)
    return Opinion(belief, uncertainty, rates)


def _logarithms(sources: Sequence[Opinion], present: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logarithms of the products of plausibilities [..., K] and of uncertainties [...], total conflict, base rate."""
    beliefs, unknown, rates = _with_absent_vacuous(sources, present)
    plausible = beliefs + unknown[..., None]
    impossible = (plausible == 0).any(0).all(-1)
    tiny = torch.finfo(unknown.dtype).tiny
    return (
        plausible.clamp_min(tiny).log().sum(0),
        unknown.clamp_min(tiny).log().sum(0),
        impossible,
        rates,
    )
