"""AmbER²: learning the raters' distribution with modality experts that guide a student (Wu et al. 2026).

Reconstruction: the full text was not available. Known: raters' shares are the target, modality heads are experts that
guide a student head adaptively, experts and student learn the shares too. Ours: divergence, weights, temperature.

    L = D(y, p_S) + a sum of D(y, p_m) + g sum of w_m D(sg[p_m], p_S),  w = softmax of -D(y, p_m) / t over modalities

    emocaliber baseline train amber2 --views FILE.npz --out DIR      (with votes_train in the file)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from emocaliber.baselines.losses import jensen_shannon
from emocaliber.baselines.opinions import Opinion, agreed
from emocaliber.baselines.views import Inputs, Model, Settings, perceptron


class Amber2(Settings, frozen=True, tag="amber2", kw_only=True):
    """The weights above: `expert_weight` a, `guidance_weight` g, `temperature` t; and what the ablations change.

    `target` "majority" learns the label instead of the votes, as cross-entropy usually does; `guidance` "fixed" weighs
    every expert alike. `divergence` "js" is Jensen–Shannon, "cross-entropy" differs from KL(y || p) by a constant.
    """

    target: Literal["shares", "majority"] = "shares"
    divergence: Literal["js", "cross-entropy"] = "cross-entropy"
    expert_weight: float = 0.5
    guidance_weight: float = 0.5
    guidance: Literal["adaptive", "fixed"] = "adaptive"
    temperature: float = 0.1

    def build(self, dims: Sequence[int], labels: int) -> Model:
        return Amber2Model(self, dims, labels)


class Amber2Model(Model):
    """An encoder and an expert head for each view; the student reads all encodings."""

    def __init__(self, settings: Amber2, dims: Sequence[int], labels: int) -> None:
        super().__init__()
        width = settings.hidden[-1] if settings.hidden else 0
        inner = settings.hidden[:-1]
        self.encoders = nn.ModuleList(
            nn.Sequential(perceptron(d, inner, width, settings.dropout), nn.ReLU(), nn.Dropout(settings.dropout))
            if width
            else nn.Identity()
            for d in dims
        )
        widths = [width or d for d in dims]
        self.experts = nn.ModuleList(nn.Linear(w, labels) for w in widths)
        self.student = nn.Linear(sum(widths), labels)
        self.settings = settings

    def loss(self, inputs: Inputs, target: Tensor, epoch: int) -> Tensor:
        student, experts = self._logits(inputs)
        total = self._divergence(target, student)
        off = torch.stack([self._divergence(target, expert) for expert in experts])
        total = total + self.settings.expert_weight * off.sum(0)
        if self.settings.guidance_weight:
            divergences = torch.stack([self._divergence(expert.detach().softmax(-1), student) for expert in experts])
            total = total + self.settings.guidance_weight * (self._weights(off) * divergences).sum(0)
        return total.mean()

    def opinion(self, inputs: Inputs, temperature: float = 1.0) -> Opinion:
        """The student's distribution; uncertain is what student and experts do not agree on."""
        student, experts = self._logits(inputs)
        shares = torch.stack([(head / temperature).softmax(-1) for head in (student, *experts)])
        return agreed(shares, shares[0])

    def _logits(self, inputs: Inputs) -> tuple[Tensor, list[Tensor]]:
        encoded = [encoder(view) for encoder, view in zip(self.encoders, inputs.views, strict=True)]
        experts = [expert(view) for expert, view in zip(self.experts, encoded, strict=True)]
        return self.student(torch.cat(encoded, -1)), experts

    def _divergence(self, target: Tensor, logits: Tensor) -> Tensor:
        if self.settings.divergence == "js":
            return jensen_shannon(target, logits.softmax(-1))
        return -(target * logits.log_softmax(-1)).sum(-1)

    def _weights(self, off: Tensor) -> Tensor:
        """How much each expert guides on each row [V, n], summing to 1 over experts."""
        if self.settings.guidance == "fixed":
            return torch.full_like(off, 1 / off.shape[0])
        return (-off.detach() / self.settings.temperature).softmax(0)
