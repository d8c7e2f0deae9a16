"""An answer: everything that the terminal and the page show about one response, and nothing that they compute anew.

Not a prediction row: those need a label to be compared with. Text is read by `emocaliber.reading` alone.

    emocaliber ask --json PICTURE
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emocaliber.chat import sentences
from emocaliber.chat.reasoning import parts
from emocaliber.chat.record import Likeness, Record
from emocaliber.core.predictions import State
from emocaliber.core.prompting import Template
from emocaliber.generation.engine import Response
from emocaliber.generation.predict import normalised
from emocaliber.generation.respond import chosen_fields
from emocaliber.reading import read_response

STATED, PROBABILITY = "as the model states it", "by the model's own label probabilities, which nothing has calibrated"


@dataclass(frozen=True)
class Answer:
    """One answer, read.

    `name` is the picture's, `question` what was typed (empty for the plain question). `label` and `confidence` are as
    in `Reading`; `alternatives` maps every candidate that has a share to it, the likeliest first, and
    `alternatives_from` says whose shares they are; `reasoning` maps the steps' titles to their texts. `like` comes
    from the record and is None where there is none, as for every typed question.
    """

    name: str
    question: str
    candidates: tuple[str, ...]
    label: str | None
    confidence: float | None
    state: State
    alternatives: dict[str, float]
    alternatives_from: str
    reasoning: dict[str, str]
    text: str
    error: str
    threshold: float
    like: Likeness | None

    @property
    def trusted(self) -> bool:
        """Whether the stated confidence reaches the threshold."""
        return self.label is not None and self.confidence is not None and self.confidence >= self.threshold - 1e-9

    @property
    def sentence(self) -> str:
        """How sure, in plain words; what is wrong where the answer cannot be read."""
        if self.error and self.label is None:
            return f"{sentences.UNREADABLE[self.state]} {self.error}"
        if self.label is None:
            return sentences.UNREADABLE[self.state]
        said = sentences.verdict(self.confidence, self.threshold - 1e-9, self.like)
        return said if self.state is State.OK else f"{sentences.UNREADABLE[self.state]} {said}"

    @property
    def basis(self) -> str:
        """What the sentence rests on; empty where it rests on nothing."""
        return sentences.basis(self.like) if self.label is not None and self.like is not None else ""

    def as_json(self) -> dict[str, Any]:
        """The same, as plain values."""
        return {
            "picture": self.name,
            "question": self.question,
            "candidates": list(self.candidates),
            "label": self.label,
            "confidence": self.confidence,
            "state": self.state.value,
            "trusted": self.trusted,
            "threshold": self.threshold,
            "sentence": self.sentence,
            "basis": self.basis,
            "alternatives": self.alternatives,
            "alternatives_from": self.alternatives_from,
            "reasoning": self.reasoning,
            "text": self.text,
            "error": self.error,
        }


def read_answer(
    response: Response,
    template: Template,
    candidates: Sequence[str],
    *,
    name: str,
    record: Record,
    threshold: float,
    question: str = "",
) -> Answer:
    """What a response says. Raises nothing: what cannot be read is a state."""
    reading = read_response(response.text, candidates, finish_reason=response.finish_reason)
    known = record.of(candidates) if not question else None  # only the plain question was measured
    like = known.like(reading.confidence) if known is not None and reading.confidence is not None else None
    shares, source = reading.distribution or {}, STATED
    if not shares and reading.label is not None:
        shares, source = _probabilities(response, template, candidates), PROBABILITY
    return Answer(
        name,
        question,
        tuple(candidates),
        reading.label,
        reading.confidence,
        reading.state,
        dict(sorted(shares.items(), key=lambda item: -item[1])),
        source if shares else "",
        parts(response.text),
        response.text,
        response.error,
        threshold,
        like,
    )


def _probabilities(response: Response, template: Template, candidates: Sequence[str]) -> dict[str, float]:
    logs = dict(zip(chosen_fields(template), response.choices, strict=False)).get("label")
    return {} if logs is None else dict(zip(candidates, normalised(logs).tolist(), strict=True))
