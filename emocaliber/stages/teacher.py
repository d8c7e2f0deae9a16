"""The teacher: the model of the stage before, as a stage queries it, and three beliefs that its answers can be made of.

A stage is handed a way to open one (emocaliber.runs.teacher does, with an engine and a journal); it never sees an
engine. What the beliefs become is in emocaliber.stages.targets.

    with open_teacher(recipe, adapter, out) as teacher:
        beliefs = teacher.label_probabilities(samples)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from emocaliber.core.predictions import Prediction
from emocaliber.core.prompting import Template
from emocaliber.core.samples import Sample
from emocaliber.data.corruption import IMAGE_CORRUPTIONS, corrupted_sample
from emocaliber.stages.recipe import Recipe

Floats = npt.NDArray[np.float64]

LABEL = "label"  # the template that a teacher is asked with about labels alone
DRAWS = 8  # answers drawn for each picture where their agreement is the target
STRENGTHS = (0.1, 0.2, 0.4)
COPIES = len(STRENGTHS) * len(IMAGE_CORRUPTIONS)
CHUNK = 512  # pictures whose corrupted copies are in memory at a time


@dataclass(frozen=True)
class Answer:
    """An answer as the parser read it: label and confidence, None where they cannot be read, the distribution over the
    candidates at the label's place, given what stands before it, None where the answer has no such place, and the
    reasoning, None where the template has none or its tags are not there."""

    label: str | None
    confidence: float | None
    belief: Floats | None
    reasoning: str | None = None


class Teacher(Protocol):
    """A model that answers about samples; of several processes each answers a part, and all have every answer.

    `question` is what it is asked about labels: where it reasons, the question that it learned to reason by.
    """

    question: Template

    def label_probabilities(self, samples: Sequence[Sample]) -> list[Floats]:
        """A distribution over each sample's candidates. Raises UserError naming a sample whose picture is unusable."""
        ...

    def answers(self, samples: Sequence[Sample], template: Template, draw: int = 0) -> list[Answer]:
        """One answer to each sample, in order; `draw` numbers those of a teacher that samples."""
        ...

    def asked(self, samples: Sequence[Sample], signals: Sequence[str]) -> list[Prediction]:
        """The likeliest label of each sample, its distribution, and the signals about it, in order; a row without a
        distribution where no answer could be read."""
        ...


class OpenTeacher(Protocol):
    """Loads the model with an adapter (None for the model alone), for as long as the context is open."""

    def __call__(self, recipe: Recipe, adapter: Path | None, out: Path) -> AbstractContextManager[Teacher]: ...


@dataclass(frozen=True)
class Beliefs:
    """What a teacher believes of each sample: `beliefs`, whose likeliest label is the answer and the label's soft
    target; `stated`, the calibrated distribution to state; `confidences` [n], the calibrated probability that the
    answer is right; `reasonings`, where the teacher reasons, what leads to the answer, None where nothing readable
    does."""

    beliefs: list[Floats]
    stated: list[Floats]
    confidences: Floats
    reasonings: list[str | None] | None = None


def agreement(samples: Sequence[Sample], teacher: Teacher) -> Beliefs:
    """Self-consistency: how many of DRAWS drawn answers name each candidate, and the share of the one named most often.

    The teacher must draw (temperature above 0). A draw that cannot be read names none of the candidates; a sample of
    which no draw can be read keeps an even belief and a confidence of 0.

    Of a teacher that reasons, each draw is another reasoning: the share is the label's over all of them, while the
    belief is that after the one that is kept, the first that names the favourite: its label, without a doubt.
    """
    template = teacher.question
    counts = [np.zeros(len(sample.candidates)) for sample in samples]
    kept: list[dict[int, str]] = [{} for _ in samples]
    for draw in range(DRAWS):
        answers = teacher.answers(samples, template, draw)
        for count, sample, answer, first in zip(counts, samples, answers, kept, strict=True):
            if answer.label is None or (template.reasons and answer.reasoning is None):
                continue
            place = sample.candidates.index(answer.label)
            count[place] += 1
            first.setdefault(place, answer.reasoning or "")
    confidences = np.array([count.max() / DRAWS for count in counts])
    beliefs = [count / count.sum() if count.any() else np.full(len(count), 1 / len(count)) for count in counts]
    if not template.reasons:
        return Beliefs(beliefs, beliefs, confidences)
    tops = [int(count.argmax()) for count in counts]
    certain = [np.eye(len(count))[top] for count, top in zip(counts, tops, strict=True)]
    return Beliefs(certain, beliefs, confidences, [first.get(top) for first, top in zip(kept, tops, strict=True)])


def survival(samples: Sequence[Sample], teacher: Teacher) -> Beliefs:
    """Survival of the answer on COPIES corrupted copies of the picture: the share that has each candidate as its
    likeliest label.

    The copies carry noise, an occluding square or a blur, each at every one of STRENGTHS (see
    `data.corruption.corrupted_image`), seeded by the sample's id. After CSP (arXiv 2504.14848), which corrupts the
    object that a question is about; here the entire picture is corrupted in several ways, and the answers are counted
    (a reconstruction).
    """
    counts = [np.zeros(len(sample.candidates)) for sample in samples]
    for start in range(0, len(samples), CHUNK):
        part = samples[start : start + CHUNK]
        for kind in IMAGE_CORRUPTIONS:
            for strength in STRENGTHS:
                copies = [corrupted_sample(sample, kind, strength) for sample in part]
                for count, belief in zip(
                    counts[start : start + CHUNK], teacher.label_probabilities(copies), strict=True
                ):
                    count[belief.argmax()] += 1
    beliefs, shares = teacher.label_probabilities(samples), [count / COPIES for count in counts]
    surviving = [share[belief.argmax()] for share, belief in zip(shares, beliefs, strict=True)]
    return Beliefs(beliefs, shares, np.array(surviving))
