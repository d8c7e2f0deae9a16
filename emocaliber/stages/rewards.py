"""Rewards for stage 3 by reinforcement: what a stated label and confidence earn.

Pure functions. The text is read by the one parser; a malformed answer earns the worst reward of a readable one, never
more, and no reward is ever NaN or None.
"""

from __future__ import annotations

from emocaliber.predictions import State
from emocaliber.reading import read_response

WORST_BRIER = -1.0


def brier_reward(confidence: float, correct: bool) -> float:
    """i - (c - i)^2 in [-1, 1]: correctness plus the Brier score (RLCR, Damani et al. 2025, with weight 1).

    Naming a wrong label on purpose never pays: with c = 0 it earns 0, and honesty at any probability p of being right
    earns p - p(1 - p) = p^2 >= 0.
    """
    outcome = float(correct)
    return outcome - (confidence - outcome) ** 2


def rewarded(text: str, candidates: tuple[str, ...], truth: str) -> float:
    """The Brier reward of a completion; WORST_BRIER where it cannot be read."""
    reading = read_response(text, candidates)
    if reading.state is not State.OK or reading.confidence is None:
        return WORST_BRIER
    return brier_reward(reading.confidence, reading.label == truth)
