"""A scorer and metrics for inspect_ai: the label and the confidence that a response states, by our reader.

    from inspect_ai import Task
    from emocaliber.integrations.inspect_ai import stated_confidence
    Task(dataset=..., solver=generate(), scorer=stated_confidence(labels="mikels-8"))

    inspect score LOG --scorer PATH/emocaliber/integrations/inspect_ai.py@stated_confidence -S labels=mikels-8

A sample's target is its true label, or the letter of one of its choices. The labels to choose from are the sample's
choices, its metadata's `candidates`, or `labels`. Metrics see the answers of every epoch; `emocaliber score LOG` adds
intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from inspect_ai.scorer import CORRECT, INCORRECT, Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction
from emocaliber.core.taxonomy import labels_of
from emocaliber.integrations.answers import METRICS, Answer, counts_of
from emocaliber.reading.harness_rows import SHUFFLED, Item, candidates_in, row_of

_CONFIDENCE = "confidence"


def _named(name: str) -> Callable[[], Metric]:
    """The member of METRICS as inspect_ai's metric of that name."""

    @metric(name=name, scores="unreduced")
    def of_all() -> Metric:
        def value(scores: list[SampleScore]) -> float:
            return METRICS[name](counts_of(map(_answer, scores)))

        return value

    return of_all


accuracy, ece, brier, auroc, unreadable = map(_named, METRICS)


@scorer(metrics=[accuracy(), ece(), brier(), auroc(), unreadable()])
def stated_confidence(labels: str | Sequence[str] | None = None) -> Scorer:
    """Score each response as right or wrong, with its stated confidence and what could not be read as metadata.

    `labels`, a taxonomy's name or a list, are the candidates of samples that name none. Raises UserError for a sample
    whose labels are unknown, whose target is none of them, or whose choices a solver shuffled.
    """
    shared = labels_of(labels)

    async def score(state: TaskState, target: Target) -> Score:
        row = _read(state, target, shared)
        return Score(
            value=CORRECT if row.predicted == row.truth else INCORRECT,
            answer=row.predicted,
            explanation=state.output.completion,
            metadata={_CONFIDENCE: row.confidence if row.predicted is not None else None, "state": row.state.value},
        )

    return score


def _read(state: TaskState, target: Target, shared: tuple[str, ...]) -> Prediction:
    where = f"sample {state.sample_id!r}"
    shown = tuple(choice.value for choice in state.choices)
    choices = shown or candidates_in(state.metadata) or shared
    if not choices:
        raise UserError(f"{where}: nothing says which labels there are: stated_confidence(labels=['joy', 'fear', ...])")
    if len(target) != 1:
        raise UserError(f"{where}: it has {len(target)} targets; one true label is needed")
    if any(choice.original_position != place for place, choice in enumerate(state.choices)):
        raise UserError(f"{where}: its solver shuffled the choices, and with them the answer's letters; {SHUFFLED}")
    cut = state.output.stop_reason in ("max_tokens", "model_length")
    finish = "length" if cut else "stop"
    text = state.output.completion
    return row_of(Item(where, "", "", "", target.text, text, choices, lettered=bool(shown), finish_reason=finish))


def _answer(score: SampleScore) -> Answer:
    metadata: dict[str, Any] = score.score.metadata or {}
    if _CONFIDENCE not in metadata:
        raise UserError(f"sample {score.sample_id!r}: this metric is of scores by stated_confidence()")
    return Answer(score.score.value == CORRECT, metadata[_CONFIDENCE])
