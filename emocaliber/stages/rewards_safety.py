"""Is a reward safe? Computed on a grid, for every probability p that the model's best answer is right.

Not a proof for a continuum: p and c run over 2,001 values each. A reward is safe where all four hold:
honest play (the best answer, stated with c = p) earns at least what any other confidence earns; a deliberate wrong
answer, which is right with probability 0, never earns more; nor does any less likely answer, honestly stated; malformed
output never earns more than a readable answer, right or wrong.

    emocaliber recipe rewards --out rewards.html
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from emocaliber.stages.rewards import Floats, Reward, named_reward

GRID: Floats = np.linspace(0.0, 1.0, 2001)
_TOLERANCE = 1e-9

Range = tuple[float, float]


class UnsafeReward(UserWarning):
    """The reward that was chosen pays for something else than honesty; the message says for what, and where."""


@dataclass(frozen=True)
class Safety:
    """Where a reward fails; each is a list of closed ranges, empty for a safe reward.

    `dishonest`: p at which another confidence earns more than c = p. `error_pays`: p at which a deliberate wrong answer
    does. `worse_label_pays`: p at which a less likely answer, honestly stated, does. `garbage_pays_when_wrong` and
    `_when_right`: stated confidences at which the readable answer earns less than a malformed one.
    """

    dishonest: tuple[Range, ...]
    error_pays: tuple[Range, ...]
    worse_label_pays: tuple[Range, ...]
    garbage_pays_when_wrong: tuple[Range, ...]
    garbage_pays_when_right: tuple[Range, ...]

    @property
    def safe(self) -> bool:
        """Whether it fails nowhere."""
        return not any(vars(self).values())

    def __str__(self) -> str:
        sentences = {
            "p = {}: another confidence than the honest one pays": self.dishonest,
            "p = {}: a deliberate wrong answer pays more than honesty": self.error_pays,
            "p = {}: a less likely answer pays more than the likeliest": self.worse_label_pays,
            "c = {}: malformed output pays more than a wrong answer": self.garbage_pays_when_wrong,
            "c = {}: malformed output pays more than a right answer": self.garbage_pays_when_right,
        }
        findings = [text.format(_spoken(where)) for text, where in sentences.items() if where]
        return "; ".join(findings) or "safe: honesty pays best at every p"


def safety(reward: Reward) -> Safety:
    """Judge a reward on the grid."""
    c = GRID[1:-1] if reward.open_ends else GRID
    right, wrong = reward.right(c), reward.wrong(c)
    honest, best = right * c + wrong * (1 - c), np.empty(len(c))
    for i, p in enumerate(c):
        best[i] = (p * right + (1 - p) * wrong).max()
    lower = np.maximum.accumulate(honest)
    return Safety(
        dishonest=_ranges(c, best > honest + _TOLERANCE),
        error_pays=_ranges(c, wrong.max() > honest + _TOLERANCE),
        worse_label_pays=_ranges(c, lower > honest + _TOLERANCE),
        garbage_pays_when_wrong=_ranges(c, wrong < reward.malformed - _TOLERANCE),
        garbage_pays_when_right=_ranges(c, right < reward.malformed - _TOLERANCE),
    )


def honest_value(reward: Reward, p: Floats) -> Floats:
    """What honest play earns on average at each p [n]."""
    result: Floats = p * reward.right(p) + (1 - p) * reward.wrong(p)
    return result


@cache
def _safety_of(name: str) -> Safety:
    return safety(named_reward(name))


def chosen_reward(name: str) -> Reward:
    """The reward of that name, with an UnsafeReward warning where it is not safe. Raises ValueError for another."""
    reward, judged = named_reward(name), _safety_of(name)
    if not judged.safe:
        warnings.warn(
            f"reward {name} is not safe, choose it for comparison only; {judged}. brier-1 is safe",
            UnsafeReward,
            stacklevel=2,
        )
    return reward


def _ranges(values: Floats, where: npt.NDArray[np.bool_]) -> tuple[Range, ...]:
    """The runs of `values` where the condition holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], where, [False])).astype(np.int8)))
    return tuple((float(values[a]), float(values[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _spoken(ranges: tuple[Range, ...]) -> str:
    return ", ".join(f"{low:.3f} to {high:.3f}" for low, high in ranges)
