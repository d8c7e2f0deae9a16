"""What the integrations share: an answer as other tools can hold it, and the metrics of many.

The metrics are those of `emocaliber.evaluation`: an answer without a readable label or confidence counts as wrong, with
the worst score, and none is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.classification import accuracy
from emocaliber.evaluation.counts import Counts, count_rows
from emocaliber.evaluation.discrimination import auroc
from emocaliber.evaluation.proper_scores import brier_score
from emocaliber.reading import read_response


class Answer(NamedTuple):
    """Whether the label that was read is the true one, and the stated confidence in [0, 1]; None where one of the two
    could not be read."""

    right: bool
    confidence: float | None


METRICS: dict[str, Callable[[Counts], float]] = {
    "accuracy": lambda counts: float(accuracy(counts)),
    "ece": lambda counts: float(ece(counts)),
    "brier": lambda counts: float(brier_score(counts)),
    "auroc": lambda counts: float(auroc(counts)),
    "unreadable": lambda counts: float(counts.invalid / counts.n),
}
"""Accuracy, expected calibration error (10 bins), Brier score, AUROC (NaN where all answers are right, or none is), the
share of answers whose label or confidence cannot be read."""


def answer_of(text: str, candidates: Sequence[str], truth: str) -> Answer:
    """The answer that a response states, by the one reader."""
    reading = read_response(text, candidates)
    return Answer(reading.label == truth, reading.confidence if reading.label is not None else None)


def counts_of(answers: Iterable[Answer]) -> Counts:
    """The answers as every metric takes them. Raises ValueError for none, or a confidence outside [0, 1]."""
    every = list(answers)
    stated = [(answer.confidence, answer.right) for answer in every if answer.confidence is not None]
    unread = [answer.right for answer in every if answer.confidence is None]
    confidences, rights = [confidence for confidence, _ in stated], [right for _, right in stated]
    return count_rows(confidences, rights, invalid=len(unread), invalid_right=sum(unread))
