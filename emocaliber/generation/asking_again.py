"""Methods that ask an engine more than once: the two-step self-report, and confidence-gated retry.

Two steps: name the label, then, asked a second time, say how likely it is to be right (Tian et al. 2023, "Just Ask for
Calibration", Verb. 2S). The second question quotes the first answer (prompts/self-report-confidence.yaml), so that
every engine can answer it as a question of its own.

Retry: ask again until an answer states enough confidence, at most so many times; a confident first answer costs nothing
more. A method to be compared like any other, and no free one: choosing the most confident of several answers raises
what is stated whether or not it is right. It needs draws, so a temperature above 0.

    emocaliber predict kaomoji --model DIR --prompt self-report-answer --then self-report-confidence --out out/two
    emocaliber predict kaomoji --model DIR --temperature 0.7 --retry-below 0.8 --retries 3 --out out/retried
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import Template
from emocaliber.generation.engine import Engine, Request, Response
from emocaliber.reading import Reading, read_response


def in_two_steps(first: Template, then: Template) -> Template:
    """What the two questions ask for together: the first one's prompt, the answer that the second one ends with.

    Raises UserError where the second asks about no label, or the first one does.
    """
    if "{label}" in first.prompt or "{label}" not in then.prompt:
        raise UserError(f"{then.name} after {first.name}: give a first question, then one that quotes its label")
    if first.asks_rows_questions:
        raise UserError(
            f"{then.name} after {first.name}: it would ask without the rows' own questions; leave --then out"
        )
    return Template(f"{first.name}, then {then.name}", first.prompt, then.answer)


class AroundEngine:
    """What an engine around another takes over from it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def concurrency(self) -> int:
        """The engine's."""
        return self._engine.concurrency

    @property
    def requests_per_call(self) -> int:
        """The engine's."""
        return self._engine.requests_per_call


class FollowUpEngine(AroundEngine):
    """Another engine, asked twice: the request's own question, then the second template's about the label it named.

    A response holds both answers, one after the other on lines of their own; the last complete one counts, as
    everywhere. Of its choices each is reported from the first of the two answers that has its place.
    """

    def __init__(self, engine: Engine, first: Template, then: Template) -> None:
        super().__init__(engine)
        self._first, self._then = first, then

    @property
    def name(self) -> str:
        """The engine's name and the second question."""
        return f"{self._engine.name} then {self._then.hash}"

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; a first answer without a readable label is not asked about."""
        answers = self._engine.generate(
            [_constrained(request, self._first, request.candidates) for request in requests]
        )
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
        return _constrained(replace(request, prompt=question), self._then, (label,))


def _constrained(request: Request, template: Template, candidates: tuple[str, ...]) -> Request:
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
        questions=answer.questions + report.questions,
    )


class RetryingEngine(AroundEngine):
    """Another engine, asked again for each answer that states less than `threshold` or cannot be read.

    The first answer that reaches the threshold is taken; where none does in `retries` more answers, the most confident
    one, the earliest of equals; an unreadable one only where none could be read.
    """

    def __init__(self, engine: Engine, *, threshold: float, retries: int) -> None:
        super().__init__(engine)
        self._threshold, self._retries = threshold, retries

    @property
    def name(self) -> str:
        """The engine's name and what is asked again."""
        return f"{self._engine.name} asked again below {self._threshold} at most {self._retries} times"

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; its tokens and its count of questions are those of all of them."""
        best = self._engine.generate(requests)
        for retry in range(1, self._retries + 1):
            doubtful = [n for n, request in enumerate(requests) if _confidence(request, best[n]) < self._threshold]
            if not doubtful:
                break
            again = self._engine.generate([replace(requests[n], draw=requests[n].draw + retry) for n in doubtful])
            for n, answer in zip(doubtful, again, strict=True):
                best[n] = better(requests[n], best[n], answer)
        return best


def better(request: Request, best: Response, answer: Response) -> Response:
    """The more confident of two answers, the earlier of equals, with the tokens and questions of both."""
    chosen = answer if _confidence(request, answer) > _confidence(request, best) else best
    return replace(chosen, tokens=best.tokens + answer.tokens, questions=best.questions + answer.questions)


def _confidence(request: Request, response: Response) -> float:
    """What the answer states; below every probability where it has no label, lower still where it has failed."""
    reading: Reading = read_response(response.text, request.candidates, finish_reason=response.finish_reason)
    if reading.label is None:
        return -2.0 if response.error else -1.0
    return -0.5 if reading.confidence is None else reading.confidence
