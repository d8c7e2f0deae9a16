"""A metric for Hugging Face evaluate: of responses and true labels, or of confidences and whether each was right.

import evaluate
from emocaliber.integrations import EVALUATE_METRIC
metric = evaluate.load(EVALUATE_METRIC)
metric.compute(predictions=["<answer>joy</answer><confidence>0.8</confidence>"], references=["joy"], labels="ekman-6")
metric.compute(predictions=[0.8, 0.4], references=[1, 0])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from emocaliber.core.errors import UserError
from emocaliber.core.taxonomy import labels_of
from emocaliber.integrations.answers import METRICS, Answer, answer_of, counts_of
from emocaliber.reading.harness_rows import true_label

_DESCRIPTION = "Accuracy, ECE, Brier score and AUROC of stated confidences; unreadable responses count as wrong."


class EmocaliberCalibration(evaluate.Metric):  # type: ignore[misc]
    """`compute` returns the values of METRICS as floats."""

    def _info(self) -> evaluate.MetricInfo:
        texts = {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
        numbers = {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=__doc__,
            features=[datasets.Features(numbers), datasets.Features(texts)],
        )

    def _compute(
        self, predictions: Sequence[Any], references: Sequence[Any], labels: str | Sequence[str] | None = None
    ) -> dict[str, float]:
        """Raises UserError for responses without `labels`, a taxonomy's name or a list, and ValueError for a confidence
        outside [0, 1]."""
        if isinstance(predictions[0], str):
            answers = _read(predictions, references, labels_of(labels))
        else:
            answers = [Answer(bool(right), float(c)) for c, right in zip(predictions, references, strict=True)]
        counts = counts_of(answers)
        return {name: value(counts) for name, value in METRICS.items()}


def _read(responses: Sequence[str], truths: Sequence[str], labels: tuple[str, ...]) -> list[Answer]:
    if not labels:
        raise UserError("responses are read with the labels to choose from: compute(..., labels=['joy', 'fear', ...])")
    return [
        answer_of(text, labels, true_label(truth, labels, f"row {row}", lettered=False))
        for row, (text, truth) in enumerate(zip(responses, truths, strict=True))
    ]
