"""The two-step self-report: name the label, then, asked a second time, say how likely it is to be right.

Not a conversation: the second question quotes the first answer (see prompts/self-report-confidence.yaml), so that every
engine can answer it as a question of its own. After Tian et al. 2023, "Just Ask for Calibration", Verb. 2S.

    emocaliber generate --data kaomoji --model DIR --template self-report-answer --then self-report-confidence \
        --out out/self-report
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import Template
from emocaliber.generation.engine import Engine, Request, Response
from emocaliber.reading import read_response


def in_two_steps(first: Template, then: Template) -> Template:
    """What the two questions ask for together: the first one's prompt, the answer that the second one ends with.

    Raises UserError where the second asks about no label, or the first one does.
    """
    if "{label}" in first.prompt or "{label}" not in then.prompt:
        raise UserError(f"{then.name} after {first.name}: give a first question, then one that quotes its label")
    return Template(f"{first.name}, then {then.name}", first.prompt, then.answer)


class FollowUpEngine:
    """Another engine, asked twice: the request's own question, then the second template's about the label it named.

    A response holds both answers, one after the other on lines of their own; the last complete one counts, as
    everywhere. Of its choices each is reported from the first of the two answers that has its place.
    """

    def __init__(self, engine: Engine, first: Template, then: Template) -> None:
        self._engine, self._first, self._then = engine, first, then

    @property
    def name(self) -> str:
        """The engine's name and the second question."""
        return f"{self._engine.name} then {self._then.hash}"

    @property
    def concurrency(self) -> int:
        """The engine's."""
        return self._engine.concurrency

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; a first answer without a readable label is not asked about."""
        answers = self._engine.generate([_held_to(request, self._first, request.candidates) for request in requests])
        labels = [
            read_response(answer.text, request.candidates, finish_reason=answer.finish_reason).label
            for request, answer in zip(requests, answers, strict=True)
        ]
        second = [self._about(request, label) for request, label in zip(requests, labels, strict=True) if label]
        reports = iter(self._engine.generate(second))
        return [
            joined(answer, next(reports)) if label else answer for answer, label in zip(answers, labels, strict=True)
        ]

    def _about(self, request: Request, label: str) -> Request:
        question = self._then.render(request.candidates, label=label)
        return _held_to(replace(request, prompt=question), self._then, (label,))


def _held_to(request: Request, template: Template, candidates: tuple[str, ...]) -> Request:
    """The request with its own template's constraint, where it has any."""
    return replace(request, pattern=template.pattern(candidates)) if request.pattern else request


def joined(answer: Response, report: Response) -> Response:
    """The two answers as one response, which has ended as the second one did."""
    choices = tuple(
        report_choice if choice is None else choice
        for choice, report_choice in zip(answer.choices, report.choices, strict=True)
    )
    return replace(
        report,
        text=f"{answer.text}\n{report.text}",
        tokens=answer.tokens + report.tokens,
        choices=choices,
        asked=answer.asked + report.asked,
    )
