"""Split conformal prediction as pure functions of arrays: nonconformity scores and the threshold for a given coverage.

A prediction set contains every label whose score is at most a threshold. If the threshold is the right quantile of the
scores of calibration answers, the set covers the answer of a new, exchangeable row with at least the nominal
probability, whatever the model (Vovk et al. 2005).

| score | of label y | source |
|---|---|---|
| lac | 1 - p(y) | Sadinle, Lei & Wasserman 2019 |
| aps | the total share of labels likelier than y, plus U times that of y and its ties | Romano, Sesia & Candès 2020 |
| raps | aps, plus `weight` times the excess of y's rank over `rank` | Angelopoulos et al. 2021 |

U is uniform in [0, 1), one per row. Labels with equal shares are one block that enters the set as a whole, so that
their order does not matter. (Any score that treats calibration rows and new rows alike keeps the guarantee.)

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
    """The raps penalty: `weight` for each position by which a label's rank exceeds `rank`."""

    weight: float
    rank: int


NO_PENALTY = Penalty(0.0, 0)


def scores(shares: Floats, uniform: Floats, kind: Score, penalty: Penalty = NO_PENALTY) -> Floats:
    """The nonconformity score of every label [n, L], given distributions [n, L] and a uniform number per row [n]."""
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
    """The smallest threshold that covers an answer of a new unit with probability at least `coverage`; infinity if
    there are too few units, so that only the set of all labels would do.

    `answers` [n] are the scores of the calibration answers. Their `weights` [n] sum to 1 within each of the
    exchangeable `units` (default: n), such as a row with several raters or a cluster of rows. The new unit counts as
    one more, with infinite score. With one answer per unit this is the ceil((n + 1) coverage)-th smallest score; with
    several it is HCP (Lee, Barber & Willett 2023, "Distribution-free inference with hierarchical data"), valid for an
    answer drawn at random from a new unit. Raises ValueError unless `coverage` is between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"the coverage is {coverage:g}; give a number between 0 and 1")
    order = np.argsort(answers, kind="stable")
    reached = np.cumsum(weights[order])
    needed = coverage * ((weights.size if units is None else units) + 1)
    place = int(np.searchsorted(reached, needed - ROUNDING))
    return float(answers[order[place]]) if place < answers.size else math.inf


def never_empty(held: Bools, shares: Floats) -> Bools:
    """The sets [n, L], with the likeliest label (or labels, if tied) added to empty ones, which can only raise
    coverage."""
    likeliest = shares == shares.max(1, keepdims=True)
    return np.where(held.any(1, keepdims=True), held, likeliest)
