"""Confidence-gated retry: ask again until an answer states enough confidence, at most so many times.

Not self-consistency, which asks always and counts: here a confident first answer costs nothing more. A method to be
compared like any other, and no free one: choosing the most confident of several answers raises what is stated whether
or not it is right. Needs draws, so a temperature above 0.

    emocaliber generate --data kaomoji --model DIR --temperature 0.7 --retry-below 0.8 --retries 3 --out out/retried
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emocaliber.generation.engine import Engine, Request, Response
from emocaliber.reading import Reading, read_response


class RetryingEngine:
    """Another engine, asked again for each answer that states less than `threshold` or cannot be read.

    The first answer that reaches the threshold is kept; where none does in `retries` more answers, the most confident
    one, the earliest of equals; an unreadable one only where none could be read.
    """

    def __init__(self, engine: Engine, *, threshold: float, retries: int) -> None:
        self._engine, self._threshold, self._retries = engine, threshold, retries

    @property
    def name(self) -> str:
        """The engine's name and what is asked again."""
        return f"{self._engine.name} asked again below {self._threshold} at most {self._retries} times"

    @property
    def concurrency(self) -> int:
        """The engine's."""
        return self._engine.concurrency

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; its tokens and its count of questions are those of all of them."""
        kept = self._engine.generate(requests)
        for retry in range(1, self._retries + 1):
            doubtful = [n for n, request in enumerate(requests) if _confidence(request, kept[n]) < self._threshold]
            if not doubtful:
                break
            again = self._engine.generate([replace(requests[n], draw=requests[n].draw + retry) for n in doubtful])
            for n, answer in zip(doubtful, again, strict=True):
                kept[n] = better(requests[n], kept[n], answer)
        return kept


def better(request: Request, kept: Response, answer: Response) -> Response:
    """The more confident of two answers, the earlier of equals, with the tokens and questions of both."""
    chosen = answer if _confidence(request, answer) > _confidence(request, kept) else kept
    return replace(chosen, tokens=kept.tokens + answer.tokens, asked=kept.asked + answer.asked)


def _confidence(request: Request, response: Response) -> float:
    """What the answer states; below every probability where it has no label, lower still where it has failed."""
    reading: Reading = read_response(response.text, request.candidates, finish_reason=response.finish_reason)
    if reading.label is None:
        return -2.0 if response.error else -1.0
    return -0.5 if reading.confidence is None else reading.confidence
