"""What every baseline network offers: a loss to train on, and an opinion to judge.

Not the training loop (see training) and not what a person calls (see estimator).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor, nn

from emocaliber.baselines.opinions import Opinion


@dataclass(frozen=True)
class Inputs:
    """V views of n rows: `views` [n, d_v] each, in one order; `present` [V, n] is false where a row lacks a view.

    What is absent holds zeros, the training rows' mean where views are standardised.
    """

    views: tuple[Tensor, ...]
    present: Tensor

    @property
    def joined(self) -> Tensor:
        """All views side by side [n, sum of d_v]."""
        return torch.cat(self.views, dim=-1)

    def rows(self, chosen: Tensor) -> Inputs:
        """The rows with these numbers."""
        return Inputs(tuple(view[chosen] for view in self.views), self.present[:, chosen])


class Model(nn.Module, ABC):
    """A network over views, of K labels."""

    @abstractmethod
    def loss(self, inputs: Inputs, target: Tensor, epoch: int) -> Tensor:
        """The training loss, a scalar. `target` [n, K] sums to 1 in each row; the first `epoch` is 1."""

    @abstractmethod
    def opinion(self, inputs: Inputs, temperature: float = 1.0) -> Opinion:
        """The opinion on n rows. A temperature above 1 flattens its projected probability, one below sharpens it."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="method"):
    """Hidden layers of each perceptron, in units, and dropout behind each of them."""

    hidden: tuple[int, ...] = (256,)
    dropout: float = 0.0

    def build(self, dims: Sequence[int], labels: int) -> Model:
        """The network with fresh weights for views of these widths."""
        raise NotImplementedError


def perceptron(width: int, hidden: Sequence[int], out: int, dropout: float) -> nn.Sequential:
    """Linear layers with ReLU and dropout between them; without hidden layers, one linear map."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, out))
