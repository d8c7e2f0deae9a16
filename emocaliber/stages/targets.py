"""Targets of stage 2: what confidence an answer should state, and how it is spread over the levels.

Pure functions. Not the teacher itself: its probabilities are computed by the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emocaliber.core.prompting import LEVELS, Template
from emocaliber.core.samples import Sample
from emocaliber.stages.conversations import Lesson

Floats = npt.NDArray[np.float64]


def spread_over_levels(confidence: float, spread: float) -> tuple[float, ...]:
    """A distribution over the levels around a confidence in [0, 1].

    With `spread` 0 it is two-hot: the two neighbouring levels, their mean the confidence. Above, a discretised normal
    density of that standard deviation: a near miss costs less than a far one, and the greedy level is the nearest.
    Raises ValueError outside [0, 1].
    """
    if not 0.0 <= confidence <= 1.0:
        raise ValueError(f"{confidence} is no probability")
    levels = np.asarray(LEVELS)
    if spread <= 0:
        weights = np.clip(1 - np.abs(levels - confidence) / (levels[1] - levels[0]), 0, None)
    else:
        weights = np.exp(-0.5 * ((levels - confidence) / spread) ** 2)
    return tuple((weights / weights.sum()).tolist())


def nearest_level(confidence: float) -> float:
    """The level that is written for a confidence."""
    return min(LEVELS, key=lambda level: abs(level - confidence))


def distilled(
    samples: Sequence[Sample], beliefs: Sequence[Floats], confidences: Floats, template: Template, spread: float
) -> list[Lesson]:
    """Lessons that say the teacher's label with the given confidence.

    `beliefs` holds the teacher's distribution over each sample's candidates, kept as the label's soft target;
    `confidences` [n] the probability that its likeliest label is right, as calibrated.
    """
    lessons = []
    for sample, belief, confidence in zip(samples, beliefs, confidences, strict=True):
        label = sample.candidates[int(np.argmax(belief))]
        lessons.append(
            Lesson(
                sample,
                template.write(label=label, confidence=nearest_level(float(confidence))),
                label_target=tuple(belief.tolist()),
                level_target=spread_over_levels(float(confidence), spread),
            )
        )
    return lessons


def apportioned(shares: Floats) -> tuple[float, ...]:
    """A distribution in steps of the levels that sums to 1: largest remainders, ties to the earlier one.

    Raises ValueError where the shares do not sum to 1 or one is negative.
    """
    if abs(shares.sum() - 1) > 1e-6 or shares.min() < 0:
        raise ValueError(f"{shares.tolist()} is no distribution")
    steps = len(LEVELS) - 1
    whole = np.floor(shares * steps + 1e-9).astype(int)
    order = np.argsort(whole - shares * steps, kind="stable")
    whole[order[: steps - whole.sum()]] += 1
    return tuple(LEVELS[n] for n in whole.tolist())


def distributed(samples: Sequence[Sample], shares: Sequence[Floats], template: Template) -> list[Lesson]:
    """Lessons that say a distribution over all candidates, the likeliest first, in steps of the levels.

    `shares` holds one calibrated distribution over each sample's candidates. The first one said is the answer, its
    share the confidence.
    """
    lessons = []
    for sample, own in zip(samples, shares, strict=True):
        stated = apportioned(own)
        order = np.argsort(-own, kind="stable").tolist()
        lessons.append(Lesson(sample, template.write(distribution={sample.candidates[k]: stated[k] for k in order})))
    return lessons


def rated(sample: Sample) -> bool:
    """Whether any rater voted."""
    return any((sample.votes or {}).values())


def voted(samples: Sequence[Sample], template: Template, spread: float) -> list[Lesson]:
    """Lessons for samples with rater votes: the label with the share of raters who chose it, which may be none of them
    where the label is not the raters' own.

    The label's soft target is the raters' distribution; a template that states a distribution states theirs, one
    without a confidence states the label alone. Raises ValueError for a sample without votes or label.
    """
    lessons = []
    for sample in samples:
        if not sample.votes or not rated(sample) or sample.label is None:
            raise ValueError(f"{sample.id}: the target 'votes' needs rater votes")
        total = sum(sample.votes.values())
        shares = tuple(sample.votes.get(candidate, 0) / total for candidate in sample.candidates)
        if "distribution" in template.fields:
            lessons += distributed([sample], [np.array(shares)], template)
            continue
        if "confidence" not in template.fields:
            lessons.append(Lesson(sample, template.write(label=sample.label), shares))
            continue
        share = sample.votes.get(sample.label, 0) / total
        text = template.write(label=sample.label, confidence=nearest_level(share))
        lessons.append(Lesson(sample, text, shares, spread_over_levels(share, spread)))
    return lessons
