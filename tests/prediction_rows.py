"""Prediction rows for tests: a simulated method whose stated confidence is informative and a little too high."""

from __future__ import annotations

import random

from emocaliber.core.predictions import Prediction, Source, State

LABELS = ("negative", "neutral", "positive")


def predictions(
    method: str = "model",
    n: int = 60,
    seed: int = 0,
    *,
    task: str = "emoji",
    group: str = "known",
    refuse: float = 0.0,
    votes: bool = False,
    distribution: bool = False,
    per_cluster: int = 1,
) -> list[Prediction]:
    """n rows. The truth of row i is the same for every method and seed; `per_cluster` rows share a cluster."""
    chance = random.Random(seed)
    return [_row(method, number, chance, task, group, refuse, votes, distribution, per_cluster) for number in range(n)]


def _row(
    method: str,
    number: int,
    chance: random.Random,
    task: str,
    group: str,
    refuse: float,
    votes: bool,
    distribution: bool,
    per_cluster: int,
) -> Prediction:
    raters = random.Random(number)
    counted = {label: raters.randint(0, 5) for label in LABELS}
    truth = max(LABELS, key=lambda label: (counted[label], label))
    counted[truth] += 1
    confidence = chance.randint(8, 20) / 20
    label = truth if chance.random() < confidence - 0.1 else chance.choice(LABELS)
    refused = chance.random() < refuse
    rest = (1 - confidence) / 2
    return Prediction(
        id=f"{task}/{number}",
        task=task,
        group=group,
        cluster=f"{task}/{number // per_cluster}",
        truth=truth,
        predicted=None if refused else label,
        confidence=None if refused else confidence,
        state=State.TRUNCATED if refused else State.OK,
        source=Source.VERBALIZED,
        method=method,
        votes=counted if votes else None,
        distribution={other: confidence if other == label else rest for other in LABELS} if distribution else None,
        probability=None if refused else min(1.0, confidence / 2 + 0.3),
    )
