"""Strengths of players from matches between pairs of them, by the Bradley-Terry model.

The chance that i beats j is the logistic function of the difference of their log strengths. Fitted by
minorisation-maximisation (Hunter 2004, "MM algorithms for generalized Bradley-Terry models"), which needs no matrix of
players. As a prior, every player has drawn a part of a match against one of log strength 0, so that a player who never
lost has a finite strength.

    log_strengths(4, first=[0, 1, 2], second=[1, 2, 3], won=[1.0, 0.5, 0.8])
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from emocaliber.calibration.maps import Floats

PRIOR = 1.0
"""Weight of the drawn match, in matches."""
ITERATIONS = 10_000
TOLERANCE = 1e-9
"""The fit ends when no log strength changes by more."""


def log_strengths(
    players: int,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    won: npt.ArrayLike,
    *,
    known: npt.ArrayLike | None = None,
    prior: float = PRIOR,
) -> Floats:
    """The maximum a posteriori log strengths [players]: 0 is as strong as an average player.

    Match m [matches] is between the players with the numbers `first[m]` and `second[m]`; `won[m]`, from 0 to 1, is the
    share of it that the first one won: 0.5 is a draw. `known` [players] holds log strengths that are not fitted, NaN
    for the others. A player without a match has log strength 0. Raises ValueError if a share is outside [0, 1].
    """
    a, b, share = np.asarray(first, np.intp), np.asarray(second, np.intp), np.asarray(won, float)
    if not np.all((share >= 0) & (share <= 1)):
        match = int(np.argmin((share >= 0) & (share <= 1)))
        raise ValueError(f"won of match {match} is {share[match]}; give the share that the first player won, 0 to 1")
    fixed = np.full(players, np.nan) if known is None else np.asarray(known, float)
    free = np.isnan(fixed)
    theta = np.where(free, 0.0, fixed)
    wins = np.bincount(a, share, players) + np.bincount(b, 1 - share, players) + prior / 2
    for _ in range(ITERATIONS):
        # n / (p_a + p_b), times p_a for the first player: the logistic function keeps it finite
        expected = expit(theta[a] - theta[b])
        own = np.bincount(a, expected, players) + np.bincount(b, 1 - expected, players) + prior * expit(theta)
        step = np.where(free, np.log(wins / own), 0.0)
        theta = theta + step
        if np.abs(step).max(initial=0.0) < TOLERANCE:
            break
    return theta
