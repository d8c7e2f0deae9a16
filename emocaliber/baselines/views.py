"""Views in, opinions out: arrays of features by name, scaled for a network, and what every network offers.

A network has a loss to train on and an opinion to judge. A missing view of a row is a row of NaN; a view missing
altogether is left out of the mapping. Files of views are read by view_files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emocaliber.baselines.opinions import Opinion
from emocaliber.core.errors import UserError


@dataclass(frozen=True)
class Inputs:
    """V views of n rows: `views` [n, d_v] each, in one order; `present` [V, n] is false where a row lacks a view.

    What is absent holds zeros, the training rows' mean where views are standardised.
    """

    views: tuple[Tensor, ...]
    present: Tensor

    @property
    def joined(self) -> Tensor:
        """All views concatenated [n, sum of d_v]."""
        return torch.cat(self.views, dim=-1)

    def rows(self, chosen: Tensor) -> Inputs:
        """The rows with these indices."""
        return Inputs(tuple(view[chosen] for view in self.views), self.present[:, chosen])


class Model(nn.Module, ABC):
    """A network over views, with K labels."""

    @abstractmethod
    def loss(self, inputs: Inputs, target: Tensor, epoch: int) -> Tensor:
        """The training loss, a scalar. `target` [n, K] sums to 1 in each row; the first `epoch` is 1."""

    @abstractmethod
    def opinion(self, inputs: Inputs, temperature: float = 1.0) -> Opinion:
        """The opinion on n rows. A temperature above 1 flattens its projected probability, one below sharpens it."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="method"):
    """Hidden layers of each perceptron, in units, and the dropout after each of them."""

    hidden: tuple[int, ...] = (256,)
    dropout: float = 0.0

    def build(self, dims: Sequence[int], labels: int) -> Model:
        """The network with new weights for views of these widths."""
        raise NotImplementedError


def perceptron(width: int, hidden: Sequence[int], out: int, dropout: float) -> nn.Sequential:
    """Linear layers with ReLU and dropout between them; without hidden layers, one linear map."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, out))


Floats = npt.NDArray[np.floating]
Views = Mapping[str, Floats]


def count_rows(views: Views, dims: Mapping[str, int] | None = None) -> int:
    """The number of rows that all views share.

    Raises UserError where there is no view, a view is no table of numbers or unknown to `dims`, widths or numbers of
    rows differ, or a row is partly NaN or infinite.
    """
    if not views:
        raise UserError("there is no view; give at least one array of features")
    rows = len(next(iter(views.values())))
    for name, values in views.items():
        if values.ndim != 2 or len(values) != rows:
            raise UserError(
                f"view {name!r} has shape {values.shape}; give {rows} rows of features, as in the first view"
            )
        if dims is not None and dims.get(name) != values.shape[1]:
            known_views = ", ".join(f"{view} of width {width}" for view, width in dims.items())
            raise UserError(f"view {name!r} of width {values.shape[1]} was not trained on; there is {known_views}")
        broken = ~np.isfinite(values).all(1) & ~np.isnan(values).all(1)
        if broken.any():
            row = int(np.argmax(broken))
            raise UserError(f"view {name!r}, row {row}: partly NaN or infinite; a missing view is a row of NaN alone")
    return rows


@dataclass(frozen=True)
class Scaler:
    """`(x - shift) / scale` for every feature of every view; both [d_v]."""

    shift: dict[str, npt.NDArray[np.float32]]
    scale: dict[str, npt.NDArray[np.float32]]

    @classmethod
    def fitted(cls, views: Views, how: Literal["minmax", "standard"]) -> Scaler:
        """Fit on the rows that have the view. Constant features become 0. Raises UserError if no row has it."""
        shift, scale = {}, {}
        for name, values in views.items():
            known = values[~np.isnan(values).all(1)].astype(np.float64)
            if not len(known):
                raise UserError(f"view {name!r} is missing in every training row; leave it out")
            low, spread = known.mean(0), known.std(0)
            if how == "minmax":
                low, spread = known.min(0), np.ptp(known, axis=0)
            shift[name] = low.astype(np.float32)
            scale[name] = np.where(spread > 1e-12, spread, 1.0).astype(np.float32)
        return cls(shift, scale)

    @property
    def dims(self) -> dict[str, int]:
        """Width of each view, in the order of training."""
        return {name: len(values) for name, values in self.shift.items()}

    def inputs(self, views: Views) -> Inputs:
        """Scaled tensors of all trained views; absent ones are zero and marked as such."""
        rows = count_rows(views, self.dims)
        scaled, present = [], []
        for name, width in self.dims.items():
            values = np.asarray(views.get(name, np.full((rows, width), np.nan)), np.float32)
            has_view = np.asarray(~np.isnan(values).any(1))
            filled = np.where(has_view[:, None], (values - self.shift[name]) / self.scale[name], 0.0)
            scaled.append(torch.from_numpy(filled.astype(np.float32)))
            present.append(torch.from_numpy(has_view))
        return Inputs(tuple(scaled), torch.stack(present))
