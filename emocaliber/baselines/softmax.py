"""The usual peers: a softmax network on the joined views, a deep ensemble of them, and dropout kept on at test time.

Not evidential: their confidence is the softmax probability; the ensembles' uncertainty is what members do not agree on.

    emocaliber baseline train softmax --views FILE.npz --out DIR
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emocaliber.baselines.opinions import Opinion, agreed, dogmatic
from emocaliber.baselines.views import Inputs, Model, Settings, perceptron


class Softmax(Settings, frozen=True, tag="softmax", kw_only=True):
    """A single network, trained by cross-entropy."""

    def build(self, dims: Sequence[int], labels: int) -> Model:
        return SoftmaxModel(self, dims, labels)


class Ensemble(Settings, frozen=True, tag="ensemble", kw_only=True):
    """Several networks that differ in their first weights (Lakshminarayanan et al. 2017, without adversarial
    examples; all see the batches in one order: ours)."""

    members: int = 5

    def build(self, dims: Sequence[int], labels: int) -> Model:
        return EnsembleModel(self, dims, labels)


class Dropout(Settings, frozen=True, tag="dropout", kw_only=True):
    """One network, asked `samples` times with units dropped (Gal & Ghahramani 2016)."""

    dropout: float = 0.3
    samples: int = 30

    def build(self, dims: Sequence[int], labels: int) -> Model:
        return DropoutModel(self, dims, labels)


class SoftmaxModel(Model):
    """A network whose opinion is dogmatic: it has no uncertainty."""

    def __init__(self, settings: Settings, dims: Sequence[int], labels: int) -> None:
        super().__init__()
        self.network = perceptron(sum(dims), settings.hidden, labels, settings.dropout)

    def loss(self, inputs: Inputs, target: Tensor, epoch: int) -> Tensor:
        return F.cross_entropy(self.network(inputs.joined), target)

    def opinion(self, inputs: Inputs, temperature: float = 1.0) -> Opinion:
        return dogmatic((self.network(inputs.joined) / temperature).softmax(-1))


class EnsembleModel(Model):
    """A network whose projected probability is the members' mean."""

    def __init__(self, settings: Ensemble, dims: Sequence[int], labels: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(SoftmaxModel(settings, dims, labels) for _ in range(settings.members))

    def loss(self, inputs: Inputs, target: Tensor, epoch: int) -> Tensor:
        return torch.stack([member.loss(inputs, target, epoch) for member in self._members()]).sum()

    def opinion(self, inputs: Inputs, temperature: float = 1.0) -> Opinion:
        outputs = torch.stack([member.opinion(inputs, temperature).projected for member in self._members()])
        return agreed(outputs, outputs.mean(0))

    def _members(self) -> list[SoftmaxModel]:
        return [member for member in self.members if isinstance(member, SoftmaxModel)]


class DropoutModel(Model):
    """Its projected probability is the mean over samples, which are drawn from a fixed seed: the same at every call."""

    def __init__(self, settings: Dropout, dims: Sequence[int], labels: int) -> None:
        super().__init__()
        self.network = perceptron(sum(dims), settings.hidden, labels, settings.dropout)
        self.samples = settings.samples

    def loss(self, inputs: Inputs, target: Tensor, epoch: int) -> Tensor:
        return F.cross_entropy(self.network(inputs.joined), target)

    def opinion(self, inputs: Inputs, temperature: float = 1.0) -> Opinion:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            training = self.training
            self.train()
            outputs = torch.stack([self.network(inputs.joined) for _ in range(self.samples)])
            self.train(training)
        shares = (outputs / temperature).softmax(-1)
        return agreed(shares, shares.mean(0))
