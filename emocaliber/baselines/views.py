"""Views: arrays of features by name, with what is missing, scaled for a network.

Not a reader of files (see view_files). A missing view of a row is a row of NaN; a view missing altogether is left
out of the mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from emocaliber.baselines.model import Inputs
from emocaliber.core.errors import UserError

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
        """On the rows that have the view. Features that do not vary become 0. Raises UserError where no row has it."""
        shift, scale = {}, {}
        for name, values in views.items():
            there = values[~np.isnan(values).all(1)].astype(np.float64)
            if not len(there):
                raise UserError(f"view {name!r} is missing in every training row; leave it out")
            low, spread = there.mean(0), there.std(0)
            if how == "minmax":
                low, spread = there.min(0), np.ptp(there, axis=0)
            shift[name] = low.astype(np.float32)
            scale[name] = np.where(spread > 1e-12, spread, 1.0).astype(np.float32)
        return cls(shift, scale)

    @property
    def dims(self) -> dict[str, int]:
        """Width of each view, in the order of training."""
        return {name: len(values) for name, values in self.shift.items()}

    def inputs(self, views: Views) -> Inputs:
        """Scaled tensors of all trained views; those that are absent are zeros and marked so."""
        rows = count_rows(views, self.dims)
        scaled, present = [], []
        for name, width in self.dims.items():
            values = np.asarray(views.get(name, np.full((rows, width), np.nan)), np.float32)
            there = np.asarray(~np.isnan(values).any(1))
            filled = np.where(there[:, None], (values - self.shift[name]) / self.scale[name], 0.0)
            scaled.append(torch.from_numpy(filled.astype(np.float32)))
            present.append(torch.from_numpy(there))
        return Inputs(tuple(scaled), torch.stack(present))
