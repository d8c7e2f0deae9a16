"""Rewards for stage 3's reinforcement learning: what a stated label and confidence earn, and whether a reward is safe.

Pure functions. A reward is a scoring rule with a correctness term. Text is read by the package's one parser, a
malformed answer earns `malformed`, and no reward is ever NaN or None.

Safety is checked on a grid of 2,001 probabilities p that the model's best answer is correct and as many confidences c
(not a proof for the continuum). A reward is safe if, at every p, honest play (the best answer, stated with c = p) earns
at least as much as any other confidence, a deliberately wrong answer (correct with probability 0), or a less likely
answer stated honestly; and if malformed output never earns more than a readable answer.

    emocaliber recipe rewards --out rewards.html
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from emocaliber.core.predictions import State
from emocaliber.reading import read_response

Floats = npt.NDArray[np.float64]
Curve = Callable[[Floats], Floats]

CLIP = 0.01
"""Log scores clip confidences to [CLIP, 1 - CLIP], this package's choice, so that they stay finite."""


@dataclass(frozen=True)
class Reward:
    """A scoring rule with a correctness term.

    `right` and `wrong` map confidences [n] in [0, 1] to what a correct and a wrong answer earn [n]. An unreadable
    answer earns `malformed`; with `open_ends`, so does a confidence of exactly 0 or 1.
    """

    name: str
    right: Curve
    wrong: Curve
    malformed: float
    open_ends: bool = False

    def __call__(self, confidence: float, correctness: float) -> float:
        """What a confidence earns; `correctness` is 1 for correct, 0 for wrong, or a share of raters in between.

        Linear in correctness, so under a proper rule the best confidence equals the share. Raises ValueError outside
        [0, 1].
        """
        if not (0.0 <= confidence <= 1.0 and 0.0 <= correctness <= 1.0):
            raise ValueError(f"confidence {confidence} and correctness {correctness} must lie in [0, 1]")
        if self.open_ends and confidence in (0.0, 1.0):
            return self.malformed
        c = np.array([confidence])
        return float(correctness * self.right(c)[0] + (1 - correctness) * self.wrong(c)[0])


def brier(k: float = 1.0) -> Reward:
    """Brier-k: 1 - k(1 - c)² if right, -k c² if wrong. Brier-1 is RLCR's (Damani et al. 2025) and the default.

    Safe for k <= 1. Unsafe above: at k = 2 (the Brier weight of VL-Calibration) a deliberate wrong answer with c = 0
    pays more than honesty at every p < 0.500.
    """
    return _worst_malformed(f"brier-{k:g}", lambda c: 1 - k * (1 - c) ** 2, lambda c: -k * c**2)


def log(k: float = 1.0) -> Reward:
    """Log-k: 1 + k ln c if right, k ln(1 - c) if wrong, with c clipped to [0.01, 0.99].

    Unsafe: a deliberate wrong answer with c = 0 pays more than honesty at every p < 0.642 for k = 1 and at every
    p < 0.844 for k = 2. Safe only for k <= 0.217, where little of the score is left.
    """

    def right(c: Floats) -> Floats:
        result: Floats = 1 + k * np.log(np.clip(c, CLIP, 1 - CLIP))
        return result

    def wrong(c: Floats) -> Floats:
        result: Floats = k * np.log1p(-np.clip(c, CLIP, 1 - CLIP))
        return result

    return _worst_malformed(f"log-{k:g}", right, wrong)


def emocaliber() -> Reward:
    """EmoCaliber's reward as in its code (arXiv 2512.15528, train/cus_reward.py): log-2 plus 1 for the format, not
    clipped; -5 for a malformed answer and for a confidence of exactly 0 or 1.

    For comparison only. Unsafe: a deliberate wrong answer with c near 0 pays more than honesty at every p < 0.849, and
    malformed output pays more than a wrong answer stated with c > 0.950 or a right one with c < 0.030.
    """

    def right(c: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            result: Floats = 2 + 2 * np.log(c)
        return result

    def wrong(c: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            result: Floats = 1 + 2 * np.log1p(-c)
        return result

    return Reward("emocaliber", right, wrong, -5.0, open_ends=True)


def overconfidence(k: float = 4.0) -> Reward:
    """Overconfidence-k, which punishes stating too much more than too little (Tan et al. 2026, arXiv 2607.04332):
    ((k + 1) ln(ck + 1) - ck) / d if right, (ln(ck + 1) - ck) / d if wrong, with d = (k + 1) ln(k + 1) - k. Safe for
    every k > 0."""
    scale = (k + 1) * math.log(k + 1) - k
    return _worst_malformed(
        f"overconfidence-{k:g}",
        lambda c: ((k + 1) * np.log1p(c * k) - c * k) / scale,
        lambda c: (np.log1p(c * k) - c * k) / scale,
    )


def underconfidence(k: float = 4.0) -> Reward:
    """Underconfidence-k, which punishes stating too little more than too much (Tan et al. 2026, arXiv 2607.04332):
    (kc + ln(1 - kc/(1 + k))) / d if right, (kc + (k + 1) ln(1 - kc/(1 + k))) / d if wrong, with d = k - ln(1 + k).
    Safe for every k > 0."""
    scale = k - math.log1p(k)
    return _worst_malformed(
        f"underconfidence-{k:g}",
        lambda c: (k * c + np.log1p(-k * c / (1 + k))) / scale,
        lambda c: (k * c + (k + 1) * np.log1p(-k * c / (1 + k))) / scale,
    )


def spherical(k: float = 1.0) -> Reward:
    """Spherical-k: correctness plus k times the spherical score less 1 (Gneiting & Raftery 2007, section 4.2, for two
    outcomes): 1 - k(1 - c/s) if right, -k(1 - (1 - c)/s) if wrong, with s = √(c² + (1 - c)²).

    Safe for k <= 1. Unsafe above: at k = 2 a deliberate wrong answer with c = 0 pays more than honesty at every
    p < 0.571.
    """

    def right(c: Floats) -> Floats:
        result: Floats = 1 - k * (1 - c / np.hypot(c, 1 - c))
        return result

    def wrong(c: Floats) -> Floats:
        result: Floats = -k * (1 - (1 - c) / np.hypot(c, 1 - c))
        return result

    return _worst_malformed(f"spherical-{k:g}", right, wrong)


def named_reward(name: str) -> Reward:
    """The reward with this name, such as brier-1, log-2, overconfidence-4, spherical-1 or emocaliber.

    Raises ValueError, which lists the names, for any other.
    """
    families = {
        "brier": brier,
        "log": log,
        "overconfidence": overconfidence,
        "underconfidence": underconfidence,
        "spherical": spherical,
    }
    if name == "emocaliber":
        return emocaliber()
    match = re.fullmatch(r"([a-z]+)-(\d+(?:\.\d+)?)", name)
    if match is None or match[1] not in families or not 0 < float(match[2]) <= 100:
        raise ValueError(
            f"{name!r} is no reward: write emocaliber, or one of {', '.join(families)} with a weight in (0, 100],"
            " such as brier-1"
        )
    return families[match[1]](float(match[2]))


DRAWN = ("brier-1", "overconfidence-4", "underconfidence-4", "spherical-1", "brier-2", "spherical-2", "log-1", "log-2",
         "emocaliber")  # fmt: skip
"""The rewards that `emocaliber recipe rewards` draws: the safe ones first."""


def stated(text: str, candidates: Sequence[str]) -> tuple[str, float] | None:
    """The label and the confidence that a completion states; None where it cannot be read."""
    reading = read_response(text, candidates)
    if reading.state is not State.OK or reading.confidence is None or reading.label is None:
        return None
    return reading.label, reading.confidence


def finite_rewards(rewards: Sequence[float | None], worst: float) -> list[float]:
    """The rewards with `worst` in place of None, NaN and infinities, which a trainer may rank anywhere."""
    return [paid if paid is not None and math.isfinite(paid) else worst for paid in rewards]


def _worst_malformed(name: str, right: Curve, wrong: Curve) -> Reward:
    """A reward whose malformed answers earn the least that any readable one can."""
    ends = np.array([0.0, 1.0])
    return Reward(name, right, wrong, float(min(right(ends).min(), wrong(ends).min())))


GRID: Floats = np.linspace(0.0, 1.0, 2001)
_TOLERANCE = 1e-9

Range = tuple[float, float]


class UnsafeReward(UserWarning):
    """The chosen reward pays more for something other than honesty; the message says for what, and at which p or c."""


@dataclass(frozen=True)
class Safety:
    """Where a reward fails, as closed ranges; all empty for a safe reward.

    `dishonest`: p at which another confidence earns more than c = p. `error_pays`: p at which a deliberately wrong
    answer does. `worse_label_pays`: p at which a less likely answer, stated honestly, does. `garbage_pays_when_wrong`
    and `garbage_pays_when_right`: confidences c at which a wrong or correct answer earns less than a malformed one.
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
        findings = [text.format(_as_text(where)) for text, where in sentences.items() if where]
        return "; ".join(findings) or "safe: honesty pays best at every p"


def safety(reward: Reward) -> Safety:
    """Check a reward on the grid."""
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
    """The reward with this name, with an UnsafeReward warning if it is not safe. Raises ValueError for an unknown
    name."""
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


def _as_text(ranges: tuple[Range, ...]) -> str:
    return ", ".join(f"{low:.3f} to {high:.3f}" for low, high in ranges)
