"""Methods that query an engine more than once: two-step self-report, and confidence-gated retry.

Two steps: the model names the label, then a second question asks how likely it is to be right (Tian et al. 2023, "Just
Ask for Calibration", Verb. 2S). The second question quotes the first answer (prompts/self-report-confidence.yaml), so
that any engine can answer it as an independent question.

Retry: ask again, up to a limit, until an answer states enough confidence; a confident first answer costs nothing extra.
It is not free: choosing the most confident of several answers raises the stated confidence whether or not it is
correct. It needs sampling, so a temperature above 0.

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
    """The two questions as one template: the first one's prompt, and the second one's answer.

    Raises UserError where the second does not quote a label, or the first one does.
    """
    if "{label}" in first.prompt or "{label}" not in then.prompt:
        raise UserError(f"{then.name} after {first.name}: give a first question, then one that quotes its label")
    if first.asks_rows_questions:
        raise UserError(
            f"{then.name} after {first.name}: it would ask without the rows' own questions; leave --then out"
        )
    return Template(f"{first.name}, then {then.name}", first.prompt, then.answer)


class EngineWrapper:
    """Base class of engines that wrap another one: passes on its concurrency and call size."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def concurrency(self) -> int:
        """That of the wrapped engine."""
        return self._engine.concurrency

    @property
    def requests_per_call(self) -> int:
        """That of the wrapped engine."""
        return self._engine.requests_per_call


class FollowUpEngine(EngineWrapper):
    """Queries an engine twice: the request's question, then the second template's about the label in the answer.

    A response has both answers, on lines of their own; the parser takes the last complete one, as always. Each choice
    is reported from the first of the two answers that has it.
    """

    def __init__(self, engine: Engine, first: Template, then: Template) -> None:
        super().__init__(engine)
        self._first, self._then = first, then

    @property
    def name(self) -> str:
        """The engine's name and the second question."""
        return f"{self._engine.name} then {self._then.hash}"

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; without a readable label in the first answer, only that one."""
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
            combined(answer, next(reports)) if label else answer for answer, label in zip(answers, labels, strict=True)
        ]

    def _about(self, request: Request, label: str) -> Request:
        question = self._then.render(request.candidates, label=label)
        return _constrained(replace(request, prompt=question), self._then, (label,))


def _constrained(request: Request, template: Template, candidates: tuple[str, ...]) -> Request:
    """The request with its own template's pattern, if answers are constrained at all."""
    return replace(request, pattern=template.pattern(candidates)) if request.pattern else request


def combined(answer: Response, report: Response) -> Response:
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


class RetryingEngine(EngineWrapper):
    """Queries an engine again for each answer that states a confidence below `threshold` or cannot be read.

    Takes the first answer that reaches the threshold. If none of `retries` more answers does, takes the most confident
    one, the earliest of equals, and an unreadable one only if none could be read.
    """

    def __init__(self, engine: Engine, *, threshold: float, retries: int) -> None:
        super().__init__(engine)
        self._threshold, self._retries = threshold, retries

    @property
    def name(self) -> str:
        """The engine's name, the threshold and the number of retries."""
        return f"{self._engine.name} asked again below {self._threshold} at most {self._retries} times"

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; `tokens` and `questions` are sums over all its answers."""
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
    """The more confident of two answers, the earlier of equals, with the sums of their tokens and questions."""
    chosen = answer if _confidence(request, answer) > _confidence(request, best) else best
    return replace(chosen, tokens=best.tokens + answer.tokens, questions=best.questions + answer.questions)


def _confidence(request: Request, response: Response) -> float:
    """The stated confidence; negative without one, lower without a label, lowest for a failed request."""
    reading: Reading = read_response(response.text, request.candidates, finish_reason=response.finish_reason)
    if reading.label is None:
        return -2.0 if response.error else -1.0
    return -0.5 if reading.confidence is None else reading.confidence
