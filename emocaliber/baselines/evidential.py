"""Evidential networks: EDL on the joined views; TMC, ETMC and ECML fuse an opinion from each view.

Not TER (see ter), whose confidences are not evidence. The losses are those of the papers; the settings that make them
calibrated here are ours (recipes/baselines/README.md), the papers' public ones are in recipes/baselines/*-public.yaml.

    emocaliber baseline train tmc --views FILE.npz --out DIR
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emocaliber.baselines import losses
from emocaliber.baselines.fusion import Fusion, averaging, mean_conflict, reduced_dempster, running_averaging
from emocaliber.baselines.opinions import Opinion, from_dirichlet, from_evidence, to_dirichlet
from emocaliber.baselines.views import Inputs, Model, Settings, perceptron

OBJECTIVES = {
    "mse": losses.squared_error,
    "log": losses.log_evidence,
    "digamma": losses.digamma_cross_entropy,
}
GREATEST_LOGIT = 15.0  # exp of it is 3 million: evidence beyond that says nothing more and slows training to a halt

GREATEST_LOG_CONCENTRATION = 40.0  # a sharpened Dirichlet keeps its proportions below what float32 can hold


class Evidential(Settings, frozen=True, kw_only=True):
    """What the four methods share: how logits become evidence, the data term, and the weight and annealing, in epochs,
    of the divergence that removes misleading evidence."""

    evidence: Literal["softplus", "exp"] = "exp"
    objective: Literal["mse", "log", "digamma"] = "log"
    kl_weight: float = 0.0
    annealing: int = 50


class Edl(Evidential, frozen=True, tag="edl", kw_only=True):
    """One opinion from the concatenated views (Sensoy et al. 2018)."""

    def build(self, dims: Sequence[int], labels: int) -> Model:
        return EvidentialModel(self, [], labels, joint=sum(dims), fuse=reduced_dempster)


class Tmc(Evidential, frozen=True, tag="tmc", kw_only=True):
    """One opinion per view, fused by Dempster's reduced rule (Han et al. 2021)."""

    def build(self, dims: Sequence[int], labels: int) -> Model:
        return EvidentialModel(self, dims, labels, joint=None, fuse=reduced_dempster)


class Etmc(Evidential, frozen=True, tag="etmc", kw_only=True):
    """TMC with the concatenated views as one more view (Han et al. 2022)."""

    def build(self, dims: Sequence[int], labels: int) -> Model:
        return EvidentialModel(self, dims, labels, joint=sum(dims), fuse=reduced_dempster)


class Ecml(Evidential, frozen=True, tag="ecml", kw_only=True):
    """Evidence averaged over views, and a loss on their conflict (Xu et al. 2024).

    `fusion` "running" is the public code's, which depends on the order of the views; "mean" is not.
    """

    conflict_weight: float = 1.0
    fusion: Literal["running", "mean"] = "running"

    def build(self, dims: Sequence[int], labels: int) -> Model:
        fuse = running_averaging if self.fusion == "running" else averaging
        return EvidentialModel(self, dims, labels, joint=None, fuse=fuse, conflict_weight=self.conflict_weight)


class EvidentialModel(Model):
    """A perceptron for each source of evidence (the views, and the concatenated views if `joint` is their width)."""

    def __init__(
        self,
        settings: Evidential,
        dims: Sequence[int],
        labels: int,
        *,
        joint: int | None,
        fuse: Fusion,
        conflict_weight: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [*dims, *([] if joint is None else [joint])]
        self.sources = nn.ModuleList(perceptron(d, settings.hidden, labels, settings.dropout) for d in widths)
        self.settings, self.views, self.fuse, self.conflict_weight = settings, len(dims), fuse, conflict_weight

    def loss(self, inputs: Inputs, target: Tensor, epoch: int) -> Tensor:
        """Data term and divergence of every source and of the fused opinion, summed; conflict is weighted as if the
        terms were averaged, as in ECML's code."""
        opinions = self.opinions(inputs)
        judged = [*opinions, self._fused(opinions, inputs)] if len(opinions) > 1 else opinions
        total = self._terms(torch.stack([to_dirichlet(single) for single in judged]), target, epoch).mean(-1).sum()
        if self.conflict_weight:
            total = total + self.conflict_weight * len(judged) * mean_conflict(opinions).mean()
        return total

    def opinion(self, inputs: Inputs, temperature: float = 1.0) -> Opinion:
        """The fused opinion. Its Dirichlet's concentration is raised to 1 / temperature, which is temperature scaling
        of the mean and leaves the vacuous opinion vacuous (ours)."""
        fused = self._fused(self.opinions(inputs), inputs)
        if temperature == 1.0:
            return fused
        logs = to_dirichlet(fused).log() / temperature
        excess = (logs.amax(-1, keepdim=True) - GREATEST_LOG_CONCENTRATION).clamp_min(0.0)
        return from_dirichlet((logs - excess).exp().clamp_min(1.0))

    def opinions(self, inputs: Inputs) -> list[Opinion]:
        """The opinion of each view in order, then that of the concatenated views if they are used."""
        own_views = inputs.views if self.views else ()
        joined = (inputs.joined,) if len(self.sources) > self.views else ()
        return [
            from_evidence(self._evidence(source(view)))
            for source, view in zip(self.sources, (*own_views, *joined), strict=True)
        ]

    def _fused(self, opinions: Sequence[Opinion], inputs: Inputs) -> Opinion:
        """Absent views have no evidence. Concatenated views count if all views are present, or if they are the only
        source."""
        complete = inputs.present.all(0, keepdim=True) if self.views else inputs.present.any(0, keepdim=True)
        joined = [complete] if len(opinions) > self.views else []
        return self.fuse(opinions, torch.cat([*([inputs.present] if self.views else []), *joined]))

    def _evidence(self, logits: Tensor) -> Tensor:
        if self.settings.evidence == "softplus":
            return F.softplus(logits)
        return logits.clamp_max(GREATEST_LOGIT).exp()

    def _terms(self, concentrations: Tensor, target: Tensor, epoch: int) -> Tensor:
        """Data term and weighted divergence of each source's Dirichlets [V, n, K]: [V, n]."""
        target = target.expand_as(concentrations)
        value = OBJECTIVES[self.settings.objective](concentrations, target)
        if self.settings.kl_weight:
            weight = self.settings.kl_weight * losses.annealing(epoch, self.settings.annealing)
            value = value + weight * losses.misleading_evidence(concentrations, target)
        return value
