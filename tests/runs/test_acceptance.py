"""Bars are judged by the scorecard's figures, and a missing figure is a missed criterion."""

from __future__ import annotations

import numpy as np

from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.runs.judging import POST_HOC, PROBABILITY, STAGE_1, STAGE_2, STATED
from emocaliber.runs.summary import demo_criteria

LABELS = ("happy", "sad")


def card(spread: float, n: int = 240) -> Scorecard:
    random = np.random.default_rng(0)
    chance = random.uniform(0.3, 0.95, n)
    right = random.uniform(size=n) < chance

    def rows(method: str, confidence: np.ndarray) -> list[Prediction]:
        levels = np.round(confidence.clip(0, 1) * 20) / 20
        return [
            Prediction(
                str(i),
                "kaomoji",
                "g",
                str(i),
                "happy",
                LABELS[0] if right[i] else LABELS[1],
                float(levels[i]),
                State.OK,
                Source.VERBALIZED,
                method,
            )
            for i in range(n)
        ]

    names = (STAGE_1, STAGE_2, PROBABILITY, *POST_HOC)
    test = {name: rows(name, np.full(n, 0.6)) for name in names} | {STATED: rows(STATED, chance + spread)}
    return build_scorecard(test, calibration=test, subject=STATED)


def met(spread: float) -> dict[str, bool]:
    return {criterion.name: criterion.met for criterion in demo_criteria(card(spread), card(spread))}


def test_an_honest_confidence_meets_the_calibration_criteria_and_an_inflated_one_does_not() -> None:
    honest, inflated = met(0.0), met(0.4)
    assert honest["ECE in the held-out style"]
    assert honest["Brier against the constant"]
    assert not inflated["ECE of the stated confidence"]
    assert not inflated["ECE in the held-out style"]


def test_every_criterion_has_a_value_or_is_not_met() -> None:
    for criterion in demo_criteria(card(0.0), card(0.0)):
        assert criterion.measured.value is not None or not criterion.met
