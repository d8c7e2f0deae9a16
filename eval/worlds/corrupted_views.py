"""Corruption of feature views at adjustable severity, to test whether confidences respond to it.

For images see emocaliber.data.corruption. This is not a training augmentation. Level 0 changes nothing; corruption is
deterministic given the seed, and a higher level includes the rows affected at a lower one.

    python eval/benchmarks/baselines_corruption.py --out eval/results/baselines-corruption.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from emocaliber.baselines.views import Views, count_rows

ViewCorruption = Literal["noise", "missing", "conflict"]
VIEW_CORRUPTIONS: tuple[ViewCorruption, ...] = get_args(ViewCorruption)

Floats = npt.NDArray[np.floating]


def noisy(views: Views, names: Sequence[str], level: float, seed: int = 0) -> dict[str, Floats]:
    """Gaussian noise of `level` times each feature's deviation over these rows, on the named views."""
    count_rows(views)
    chance = np.random.default_rng(seed)
    drawn = {name: chance.standard_normal(views[name].shape) for name in names}
    return {
        name: values + level * np.nanstd(values, axis=0) * drawn[name] if name in drawn else values
        for name, values in views.items()
    }


def without(views: Views, names: Sequence[str], level: float, seed: int = 0) -> dict[str, Floats]:
    """The named views missing (rows of NaN) from a share `level` of the rows."""
    hit = _share(count_rows(views), level, seed)
    return {name: np.where(hit[:, None], np.nan, values) if name in names else values for name, values in views.items()}


def conflicting(
    views: Views, names: Sequence[str], labels: Sequence[object], level: float, seed: int = 0
) -> dict[str, Floats]:
    """On a share `level` of the rows, the named views swapped for those of a row with another label.

    `labels` [n]. Each row's donor is drawn among the rows of other labels; raises ValueError where there is none.
    """
    rows = count_rows(views)
    label_array = np.asarray(labels)
    if len(np.unique(label_array)) < 2:
        raise ValueError("a conflict needs rows of at least two labels")
    chance = np.random.default_rng([seed, 1])
    donor = np.array([chance.choice(np.flatnonzero(label_array != label)) for label in label_array])
    hit = _share(rows, level, seed)
    source = np.where(hit, donor, np.arange(rows))
    return {name: values[source] if name in names else values for name, values in views.items()}


def _share(rows: int, level: float, seed: int) -> npt.NDArray[np.bool_]:
    if not 0 <= level <= 1:
        raise ValueError(f"a share of rows is between 0 and 1, not {level}")
    order: npt.NDArray[np.bool_] = np.random.default_rng(seed).random(rows).argsort().argsort() < round(level * rows)
    return order
