"""Split-conformal prediction sets as pure functions of arrays: conformity scores and the quantile that keeps a promise.

A set holds every label whose score is at most a threshold. With the threshold at the right quantile of the scores of
calibration answers, it holds the answer of a new, exchangeable row with at least the promised probability, whatever the
model (Vovk et al. 2005).

| score | of label y | source |
|---|---|---|
| lac | 1 - p(y) | Sadinle, Lei & Wasserman 2019 |
| aps | the share of all labels likelier than y, and U times y's own | Romano, Sesia & Candès 2020 |
| raps | aps, and `weight` for each label by which y's rank exceeds `rank` | Angelopoulos et al. 2021 |

U is uniform in [0, 1) and belongs to the row. Labels of equal share are one block: all of them enter, or none, so that
no order among equals decides (any score that treats calibration and new rows alike keeps the promise).

    limit = threshold(scores(shares, uniform, "aps")[rows, answer], np.ones(n), 0.9)
    held = scores(new_shares, new_uniform, "aps") <= limit
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Score = Literal["lac", "aps", "raps"]
ROUNDING = 1e-9


class Penalty(NamedTuple):
    """What raps adds for each label by which a rank exceeds `rank`."""

    weight: float
    rank: int


NO_PENALTY = Penalty(0.0, 0)


def scores(shares: Floats, uniform: Floats, kind: Score, penalty: Penalty = NO_PENALTY) -> Floats:
    """The conformity score of every label [n, L] of distributions [n, L], with a uniform number for each row [n]."""
    if kind == "lac":
        return 1 - shares
    above, equal, rank = np.empty_like(shares), np.empty_like(shares), np.empty_like(shares)
    for label in range(shares.shape[1]):
        own = shares[:, label : label + 1]
        likelier = shares > own
        above[:, label] = (shares * likelier).sum(1)
        equal[:, label] = (shares * (shares == own)).sum(1)
        rank[:, label] = 1 + likelier.sum(1)
    mass = above + uniform[:, None] * equal
    return mass if kind == "aps" else mass + penalty.weight * np.maximum(rank - penalty.rank, 0)


def threshold(answers: Floats, weights: Floats, coverage: float, units: float | None = None) -> float:
    """The least score [n] that a share `coverage` of the answers of a new unit do not exceed; infinity where there are
    too few units to promise that of anything but all labels.

    `weights` [n] sum to 1 within each of the `units` (default: n of them) that are exchangeable, such as a row with
    several raters or a cluster of rows; the new unit adds one of infinite score. With one answer a unit this is the
    ceil((n + 1) coverage)-th smallest score; with several it is Lee, Barber & Willett 2023, "Distribution-free
    inference with hierarchical data" (HCP), which holds for an answer drawn from a new unit. Raises ValueError where
    `coverage` is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage of {coverage:g} cannot be promised: give a number between 0 and 1")
    order = np.argsort(answers, kind="stable")
    reached = np.cumsum(weights[order])
    needed = coverage * ((weights.size if units is None else units) + 1)
    place = int(np.searchsorted(reached, needed - ROUNDING))
    return float(answers[order[place]]) if place < answers.size else math.inf


def never_empty(held: Bools, shares: Floats) -> Bools:
    """Sets [n, L] of which an empty one holds the likeliest label, or all that are equally likely. It holds more than
    was promised then, never less."""
    likeliest = shares == shares.max(1, keepdims=True)
    return np.where(held.any(1, keepdims=True), held, likeliest)
