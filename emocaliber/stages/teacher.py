"""The teacher, a stage's interface to the model of the stage before, and beliefs derived from its answers.

A stage gets a function that opens a teacher (emocaliber.runs.teacher, with an engine and a journal) and never sees the
engine. How beliefs become targets is in emocaliber.stages.targets.

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

LABEL = "label"  # the template for querying a teacher about labels
DRAWS = 8  # sampled answers for each picture where their agreement is the target
STRENGTHS = (0.1, 0.2, 0.4)
COPIES = len(STRENGTHS) * len(IMAGE_CORRUPTIONS)
CHUNK = 512  # pictures whose corrupted copies are in memory at a time


@dataclass(frozen=True)
class Answer:
    """An answer as the parser read it.

    `label` and `confidence` are None where they cannot be read; `belief` is the distribution over the candidates where
    the label is written, given everything before it, None where the answer has no label; `reasoning` is None where the
    template has none or its tags are missing.
    """

    label: str | None
    confidence: float | None
    belief: Floats | None
    reasoning: str | None = None


class Teacher(Protocol):
    """A model that is queried about samples. Several processes share the work, and each gets all answers.

    `question` is the template for asking about labels: for a model that reasons, the one that it learned to reason by.
    """

    question: Template

    def label_probabilities(self, samples: Sequence[Sample]) -> list[Floats]:
        """A distribution over each sample's candidates. Raises UserError naming a sample whose picture is unusable."""
        ...

    def answers(self, samples: Sequence[Sample], template: Template, draw: int = 0) -> list[Answer]:
        """One answer to each sample, in order; `draw` numbers the samples of a teacher with temperature above 0."""
        ...

    def predictions(self, samples: Sequence[Sample], signals: Sequence[str]) -> list[Prediction]:
        """For each sample, in order, the likeliest label with distribution and signals; without a distribution where no
        answer could be read."""
        ...


class OpenTeacher(Protocol):
    """Loads the model with an adapter (None for the bare model), for as long as the context is open."""

    def __call__(self, recipe: Recipe, adapter: Path | None, out: Path) -> AbstractContextManager[Teacher]: ...


@dataclass(frozen=True)
class Beliefs:
    """A teacher's beliefs about n samples.

    `beliefs` are distributions over the candidates: the label's soft targets, their likeliest label the answer;
    `stated`, the calibrated distributions to state; `confidences` [n], the calibrated probabilities that the answers
    are correct; `reasonings`, for a teacher that reasons, the reasoning before each answer, None where unreadable.
    """

    beliefs: list[Floats]
    stated: list[Floats]
    confidences: Floats
    reasonings: list[str | None] | None = None


def agreement(samples: Sequence[Sample], teacher: Teacher) -> Beliefs:
    """Self-consistency: the belief is the share of DRAWS sampled answers that name each candidate, the confidence that
    of the favourite among all DRAWS.

    The teacher must sample (temperature above 0). Unreadable answers name no candidate; a sample without a readable
    answer has a uniform belief and a confidence of 0.

    A teacher that reasons gives a new reasoning each time. The first that leads to the favourite is kept, and the
    belief, which is the one after that reasoning, is certain of the favourite.
    """
    template = teacher.question
    counts = [np.zeros(len(sample.candidates)) for sample in samples]
    kept: list[dict[int, str]] = [{} for _ in samples]
    for draw in range(DRAWS):
        answers = teacher.answers(samples, template, draw)
        for count, sample, answer, first in zip(counts, samples, answers, kept, strict=True):
            if answer.label is None or (template.reasons and answer.reasoning is None):
                continue
            candidate = sample.candidates.index(answer.label)
            count[candidate] += 1
            first.setdefault(candidate, answer.reasoning or "")
    confidences = np.array([count.max() / DRAWS for count in counts])
    beliefs = [count / count.sum() if count.any() else np.full(len(count), 1 / len(count)) for count in counts]
    if not template.reasons:
        return Beliefs(beliefs, beliefs, confidences)
    tops = [int(count.argmax()) for count in counts]
    certain = [np.eye(len(count))[top] for count, top in zip(counts, tops, strict=True)]
    return Beliefs(certain, beliefs, confidences, [first.get(top) for first, top in zip(kept, tops, strict=True)])


def survival(samples: Sequence[Sample], teacher: Teacher) -> Beliefs:
    """Robustness to corruption: the confidence is the share of COPIES corrupted copies of the picture on which the
    answer stays the likeliest label.

    The copies have noise, an occluding square or blur at each of STRENGTHS (see `data.corruption.corrupted_image`),
    seeded by the sample's id. After CSP (arXiv 2504.14848), which corrupts the object that a question is about; here
    the whole picture is corrupted in several ways and the answers are counted (a reconstruction).
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
