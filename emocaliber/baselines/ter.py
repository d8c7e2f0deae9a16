"""TER: modalities weighted by a learnt confidence (Xue et al. 2025). Reconstruction: the full text was not available.

Known from the abstract: a confidence for each modality's prediction, results combined by it, a confidence module, a
trusted threshold. Ours: a softmax classifier and a confidence head a view, the head trained towards the true class's
probability (Han et al. 2022), fusion by confidence-weighted means. The threshold is chosen on validation rows for every
method alike, by the estimator.

    emocaliber baseline train ter --views FILE.npz --out DIR
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emocaliber.baselines.losses import trusted_cross_entropy
from emocaliber.baselines.opinions import Opinion
from emocaliber.baselines.views import Inputs, Model, Settings, perceptron


class Ter(Settings, frozen=True, tag="ter", kw_only=True):
    """Hidden layers and dropout only."""

    def build(self, dims: Sequence[int], labels: int) -> Model:
        return TerModel(self, dims, labels)


class TerModel(Model):
    """A perceptron per view, with K logits and one for its confidence."""

    def __init__(self, settings: Ter, dims: Sequence[int], labels: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(perceptron(d, settings.hidden, labels + 1, settings.dropout) for d in dims)

    def loss(self, inputs: Inputs, target: Tensor, epoch: int) -> Tensor:
        """The mean over views of the trusted cross-entropy, plus the cross-entropy of the fused prediction."""
        logits, confidence = self._heads(inputs)
        views = [
            trusted_cross_entropy(view_logits.log_softmax(-1), stated, target)
            for view_logits, stated in zip(logits, confidence, strict=True)
        ]
        fused, _ = _weighted(logits.softmax(-1), confidence, inputs.present)
        together = -(target * fused.clamp_min(1e-12).log()).sum(-1)
        return torch.stack(views).mean() + together.mean()

    def opinion(self, inputs: Inputs, temperature: float = 1.0) -> Opinion:
        """Believed as far as the weighted mean of the confidences goes; the projected probability is the weighted mean
        of what the views say, so the base rate, one a row, is that too."""
        logits, confidence = self._heads(inputs)
        mixture, trust = _weighted(logits.softmax(-1), confidence, inputs.present)
        mixture = (mixture.clamp_min(1e-12).log() / temperature).softmax(-1)
        return Opinion(trust[:, None] * mixture, 1 - trust, mixture)

    def _heads(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Logits [V, n, K] and confidences [V, n] in [0, 1]."""
        outputs = torch.stack([network(view) for network, view in zip(self.views, inputs.views, strict=True)])
        return outputs[..., :-1], outputs[..., -1].sigmoid()


def _weighted(shares: Tensor, confidence: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence-weighted means of the shares [n, K] and of the confidences [n]: uniform and 0 where all are absent."""
    weight = confidence * present
    total = weight.sum(0)
    silent = total <= 0
    weight = torch.where(silent, torch.ones_like(weight), weight)
    total = weight.sum(0)
    flat = torch.where(silent[:, None], torch.full_like(shares[0], 1 / shares.shape[-1]), torch.zeros_like(shares[0]))
    mixture = (weight[..., None] * shares).sum(0) / total[:, None]
    mixture = torch.where(silent[:, None], flat, mixture)
    return mixture, torch.where(silent, torch.zeros_like(total), (weight * confidence).sum(0) / total)
