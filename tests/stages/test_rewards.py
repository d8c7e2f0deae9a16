"""The default reward pays for honesty at every probability of being right."""

from __future__ import annotations

import numpy as np
import pytest

from emocaliber.stages.rewards import WORST_BRIER, brier_reward, rewarded

CANDIDATES = ("happy", "sad")
GRID = np.linspace(0.0, 1.0, 201)


def expected(p: float, confidence: float) -> float:
    return p * brier_reward(confidence, True) + (1 - p) * brier_reward(confidence, False)


@pytest.mark.parametrize("p", np.linspace(0.0, 1.0, 41))
def test_honesty_is_the_best_confidence(p: float) -> None:
    best = max(GRID, key=lambda c: expected(p, float(c)))
    assert abs(best - p) <= 0.005 + 1e-9


@pytest.mark.parametrize("p", np.linspace(0.0, 1.0, 41))
def test_a_deliberate_wrong_answer_never_pays(p: float) -> None:
    assert expected(p, p) >= max(brier_reward(float(c), False) for c in GRID) - 1e-12


@pytest.mark.parametrize(
    "text",
    [
        "",
        "happy",
        "<answer>happy</answer>",
        "<answer>happy</answer><confidence>nan</confidence>",
        "<answer>happy</answer><confidence>1.7</confidence>",
        "<answer>happy sad</answer><confidence>0.5</confidence>",
    ],
)
def test_malformed_output_never_beats_a_readable_answer(text: str) -> None:
    assert rewarded(text, CANDIDATES, "happy") == WORST_BRIER
    assert min(brier_reward(float(c), right) for c in GRID for right in (True, False)) >= WORST_BRIER


def test_a_right_and_sure_answer_earns_the_most() -> None:
    assert rewarded("<answer>happy</answer><confidence>1.00</confidence>", CANDIDATES, "happy") == 1.0
