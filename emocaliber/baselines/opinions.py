"""Multinomial opinions of subjective logic, and the Dirichlet distributions that they stand for.

Not a network and not a fusion operator (see fusion): pure functions of torch tensors, batched, differentiable, and
stable in float32 up to an evidence of 10⁶ and beyond. K is the number of labels.

    python -m pytest tests/baselines/test_opinions.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Opinion:
    """What is believed of each label, and what is not known (Jøsang 2016, "Subjective Logic", section 3.5).

    `belief` [..., K] in [0, 1] and `uncertainty` [...] in [0, 1] sum to 1 in each row; `base_rate` [K] or [..., K]
    sums to 1 and says how the uncertainty is shared out when a probability is wanted. An uncertainty of 1 is a vacuous
    opinion, of 0 a dogmatic one. Not checked on construction (see `checked`): training makes millions.
    """

    belief: Tensor
    uncertainty: Tensor
    base_rate: Tensor

    @property
    def projected(self) -> Tensor:
        """The projected probability [..., K], which is the mean of the Dirichlet."""
        return self.belief + self.base_rate * self.uncertainty[..., None]


def uniform_base_rate(like: Tensor) -> Tensor:
    """1/K for each of the K labels of `like` [..., K]."""
    labels = like.shape[-1]
    return like.new_full((labels,), 1.0 / labels)


def from_evidence(evidence: Tensor, base_rate: Tensor | None = None, prior_weight: float | None = None) -> Opinion:
    """The opinion of evidence e >= 0 [..., K]: b = e / S, u = W / S, S = W + sum of e (Jøsang 2016, section 3.5).

    `prior_weight` W is the non-informative prior weight, by default K, with which a uniform base rate gives the
    Dirichlet of Sensoy et al. 2018, alpha = e + 1.
    """
    weight = float(evidence.shape[-1]) if prior_weight is None else prior_weight
    total = evidence.sum(-1) + weight
    rates = uniform_base_rate(evidence) if base_rate is None else base_rate
    return Opinion(evidence / total[..., None], weight / total, rates)


def to_evidence(opinion: Opinion, prior_weight: float | None = None) -> Tensor:
    """The evidence e = W b / u [..., K].

    A dogmatic opinion's would be infinite: the total is held at the square root of the dtype's greatest value (about
    10¹⁹ in float32), the labels' proportions as they are.
    """
    weight = float(opinion.belief.shape[-1]) if prior_weight is None else prior_weight
    least = weight / torch.finfo(opinion.belief.dtype).max ** 0.5
    return weight * opinion.belief / opinion.uncertainty.clamp_min(least)[..., None]


def to_dirichlet(opinion: Opinion, prior_weight: float | None = None) -> Tensor:
    """The concentration alpha = e + W a [..., K] of the opinion's Dirichlet."""
    weight = float(opinion.belief.shape[-1]) if prior_weight is None else prior_weight
    return to_evidence(opinion, weight) + weight * opinion.base_rate


def from_dirichlet(
    concentration: Tensor, base_rate: Tensor | None = None, prior_weight: float | None = None
) -> Opinion:
    """The opinion of a Dirichlet [..., K].

    Raises ValueError where a concentration is below W a (by default 1): it is less than no evidence.
    """
    weight = float(concentration.shape[-1]) if prior_weight is None else prior_weight
    rates = uniform_base_rate(concentration) if base_rate is None else base_rate
    evidence = concentration - weight * rates
    if bool((evidence < 0).any()):
        raise ValueError(
            f"a concentration of {float(concentration.min()):.4g} is below prior weight times base rate:"
            " no opinion stands for it"
        )
    return from_evidence(evidence, rates, weight)


def vacuous(like: Opinion) -> Opinion:
    """An opinion without any evidence, of the same shape and base rate."""
    return Opinion(torch.zeros_like(like.belief), torch.ones_like(like.uncertainty), like.base_rate)


def dogmatic(probabilities: Tensor) -> Opinion:
    """An opinion without uncertainty, from probabilities [..., K] that sum to 1."""
    return Opinion(probabilities, torch.zeros_like(probabilities[..., 0]), uniform_base_rate(probabilities))


def discounted(opinion: Opinion, trust: Tensor) -> Opinion:
    """The opinion of a source that is trusted with probability `trust` [...] in [0, 1]: b' = t b, the rest is unknown.

    Probability-sensitive trust discounting, Jøsang 2016, section 14.3.
    """
    belief = trust[..., None] * opinion.belief
    return Opinion(belief, 1 - trust * (1 - opinion.uncertainty), opinion.base_rate)


def agreed(members: Tensor, share: Tensor) -> Opinion:
    """One opinion of M members' probabilities [M, ..., K], whose projected probability is `share` [..., K].

    Belief is what every member grants a label, the lower probability of the set that they span; uncertainty is the
    rest. The base rate, one a row, is such that the projected probability is `share`. Ours, after Walley's lower
    envelopes. Raises ValueError where `share` lies below the members' minimum.
    """
    belief = members.amin(0)
    rest = share - belief
    if bool((rest < -1e-5).any()):
        raise ValueError("the projected probability of a label lies below what every member grants it")
    rest = rest.clamp_min(0.0)
    uncertainty = rest.sum(-1)
    known_rows = uncertainty[..., None] > torch.finfo(share.dtype).eps
    rates = torch.where(known_rows, rest / rest.sum(-1, keepdim=True).clamp_min(1e-30), uniform_base_rate(share))
    return Opinion(belief, uncertainty, rates)


def stacked(opinions: Sequence[Opinion]) -> tuple[Tensor, Tensor, Tensor]:
    """Beliefs [V, ..., K] and uncertainties [V, ...] of V opinions on one variable, and their base rate.

    Raises ValueError where there is none, or where base rates differ: the opinions are then not about one variable.
    """
    if not opinions:
        raise ValueError("no opinion to fuse; give at least one")
    rates = opinions[0].base_rate
    if any(other.base_rate is not rates and not torch.equal(other.base_rate, rates) for other in opinions[1:]):
        raise ValueError("opinions with different base rates cannot be fused; give all the same base rate")
    beliefs = torch.stack([opinion.belief for opinion in opinions])
    return beliefs, torch.stack([opinion.uncertainty for opinion in opinions]), rates


def checked(opinion: Opinion, tolerance: float = 1e-4) -> Opinion:
    """The opinion itself. Raises ValueError naming the first row that is negative, not finite or does not sum to 1."""
    total = opinion.belief.sum(-1) + opinion.uncertainty
    negative = (opinion.belief < 0).any(-1) | (opinion.uncertainty < 0)
    wrong = negative | ~((total - 1).abs() <= tolerance)
    if bool(wrong.any()):
        row = int(wrong.reshape(-1).float().argmax())
        raise ValueError(f"row {row} is no opinion: belief and uncertainty must be at least 0 and sum to 1")
    return opinion
