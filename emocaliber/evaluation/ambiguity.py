"""Ambiguity: how far the raters of a row agree, as strata, and the agreement with a predicted label.

The stated confidence can be right about the majority label or about the next rater, not both: agreement calibration
is the second, and takes `tally(confidence, agreement(votes, predicted))`, whose `brier` is the expected Brier score
over raters (a(1 - c)² + (1 - a)c², in closed form) and whose `ece` is the ECE against agreement. Not a metric of
distributions.

    python -c "from emocaliber.evaluation.ambiguity import strata; print(strata([[3, 0], [2, 1], [1, 1]]))"
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.distributional import distribution, entropy
from emocaliber.evaluation.tally import BoolArray, FloatArray


def agreement(votes: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """Share of raters who chose the predicted label, (n,): `votes` (n, L) counts, `predicted` (n,) indices, -1 for
    none."""
    share = distribution(votes, "votes")
    label = np.asarray(predicted)
    return np.where(label >= 0, np.take_along_axis(share, np.maximum(label, 0)[:, None], 1)[:, 0], 0.0)


def strata(votes: ArrayLike) -> dict[str, BoolArray]:
    """Masks of the rows, (n,), by name, those without a row left out.

    "unanimous" (one label has every vote), "majority" (more than half) and "no majority" are exact; "low", "middle"
    and "high entropy" are thirds by entropy of the votes, ties kept together in the third where their middle falls.
    """
    share = distribution(votes, "votes")
    top = share.max(-1)
    spread = np.round(entropy(share), 12)
    values, inverse, counts = np.unique(spread, return_inverse=True, return_counts=True)
    third = np.minimum(3 * (np.cumsum(counts) - counts / 2) / spread.size, 2).astype(int)[inverse]
    del values
    masks = {
        "unanimous": top == 1.0,
        "majority": (top > 0.5) & (top < 1.0),
        "no majority": top <= 0.5,
        "low entropy": third == 0,
        "middle entropy": third == 1,
        "high entropy": third == 2,
    }
    return {name: mask for name, mask in masks.items() if mask.any()}
