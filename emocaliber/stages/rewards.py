"""Rewards for stage 3 by reinforcement: what a stated label and confidence earn, as scoring rules with a correctness
term.

Pure functions. The text is read by the one parser; a malformed answer earns `malformed`, and no reward is ever NaN or
None. Which rewards are safe is not claimed here but computed, in rewards_safety.

    emocaliber recipe rewards --out rewards.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emocaliber.core.predictions import State
from emocaliber.reading import read_response

Floats = npt.NDArray[np.float64]
Curve = Callable[[Floats], Floats]

CLIP = 0.01
"""Log scores see confidences clipped to [CLIP, 1 - CLIP], the package's own choice, so that they stay finite."""


@dataclass(frozen=True)
class Reward:
    """A scoring rule with a correctness term.

    `right` and `wrong` map confidences [n] in [0, 1] to what a right and a wrong answer earn [n]. `malformed` is what
    an unreadable answer earns; `open_ends` counts a confidence of exactly 0 or 1 as malformed too.
    """

    name: str
    right: Curve
    wrong: Curve
    malformed: float
    open_ends: bool = False

    def __call__(self, confidence: float, correctness: float) -> float:
        """What a confidence earns; `correctness` in [0, 1] is 1 for right, 0 for wrong, or the share that is right.

        Linear in correctness, so a properly scored share is stated as it is. Raises ValueError outside [0, 1].
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
    """The reward of a name such as brier-1, log-2, overconfidence-4, spherical-1 or emocaliber.

    Raises ValueError, saying what names there are, for any other.
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


def never_best(rewards: Sequence[float | None], worst: float) -> list[float]:
    """The rewards, with `worst` in place of None, NaN and infinities, which a trainer may rank anywhere."""
    return [paid if paid is not None and math.isfinite(paid) else worst for paid in rewards]


def _worst_malformed(name: str, right: Curve, wrong: Curve) -> Reward:
    """A reward whose malformed answers earn the least that any readable one can."""
    ends = np.array([0.0, 1.0])
    return Reward(name, right, wrong, float(min(right(ends).min(), wrong(ends).min())))
