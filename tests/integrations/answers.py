"""Fifty answers of every kind, for the tools that are tested beside the package: right, wrong, unread, half read."""

from __future__ import annotations

import random

from emocaliber.core.taxonomy import MIKELS_8

LABELS = list(MIKELS_8.labels)


def fifty() -> tuple[list[str], list[str]]:
    """The responses and the true labels."""
    drawn = random.Random(0)
    truths = [drawn.choice(LABELS) for _ in range(50)]
    responses = []
    for truth in truths:
        label = truth if drawn.random() < 0.6 else drawn.choice(LABELS)
        stated = f"<answer>{label}</answer><confidence>{drawn.randrange(1, 20) / 20:.2f}</confidence>"
        kinds = [f"The answer is {label}.", "I cannot say.", f"<think>{truth}, I think</think>{stated}"]
        responses.append(drawn.choices([stated, *kinds], weights=[8, 1, 1, 2])[0])
    return responses, truths
