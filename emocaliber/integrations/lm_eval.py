"""Metrics for a task of lm-evaluation-harness that generates: named in its YAML, nothing else to write.

    output_type: generate_until
    process_results: !function emocaliber.integrations.lm_eval.process_results
    metric_list:
      - {metric: ece, aggregation: !function emocaliber.integrations.lm_eval.ece, higher_is_better: false}

and likewise accuracy, brier, auroc and unreadable. A document holds `label`, the true one, and `candidates`, those to
choose from, under these or their other usual names (see `stages.grading`). Where it names no candidates, a `utils.py`
beside the YAML says them: `process_results = results_of(labels="mikels-8")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.taxonomy import labels_of
from emocaliber.integrations.answers import METRICS, Answer, answer_of, counts_of
from emocaliber.stages.grading import TRUTHS, completions_of

Document = Mapping[str, Any]


def results_of(labels: str | Sequence[str] | None = None) -> Callable[[Document, Sequence[Any]], dict[str, Answer]]:
    """A `process_results` for documents that name no candidates: `labels` are a taxonomy's name, or a list."""
    shared = labels_of(labels)

    def process_results(doc: Document, results: Sequence[Any]) -> dict[str, Answer]:
        """The answer of one document, for each of METRICS. Raises UserError where the document lacks label or
        candidates."""
        text = results[0] if isinstance(results[0], str) else results[0][0]
        [row] = completions_of([text], {name: [value] for name, value in doc.items()}, shared)
        if row.truth is None:
            raise UserError(f"a document has no true label under {', '.join(TRUTHS)}; it has {', '.join(doc)}")
        answer = answer_of(row.text, row.candidates, row.truth)
        return dict.fromkeys(METRICS, answer)

    return process_results


process_results = results_of()


def _aggregation(name: str) -> Callable[[Iterable[Answer]], float]:
    def aggregated(answers: Iterable[Answer]) -> float:
        return METRICS[name](counts_of(Answer(*answer) for answer in answers))

    aggregated.__name__ = name
    return aggregated


accuracy, ece, brier, auroc, unreadable = map(_aggregation, METRICS)
