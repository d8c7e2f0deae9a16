"""The engine protocol, shared by all engines and their callers: requests in, as many responses out, in the same order.

Not an engine. A request that fails becomes a response with the finish reason "engine error"; the others are answered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from emocaliber.core.predictions import State

API_KEY_ENV = "OPENAI_API_KEY"
STOP = "stop"
LENGTH = "length"
ENGINE_ERROR = State.ENGINE_ERROR.value
IMAGE_ERROR = State.IMAGE_ERROR.value


@dataclass(frozen=True)
class Choice:
    """A position in the answer where the model chooses between options: right after the last `after` in its text.

    An engine reports the log-probability of each option there, whichever was written. Options of several tokens are
    scored with the first token of `until`, which ends them, so that "joy" is not credited with "joyful".
    """

    after: str
    options: tuple[str, ...]
    until: str = ""

    def place(self, text: str) -> int | None:
        """The offset of the first character after the last `after`; None where the text lacks it."""
        start = text.rfind(self.after)
        return None if start < 0 else start + len(self.after)


@dataclass(frozen=True)
class Request:
    """One question: a decoded RGB image, the user's text, and the choices to report on. `further_images` follow the
    image where the question is about several.

    `draw` numbers the answers sampled for the same question; a greedy engine gives the same answer to each. `pattern`
    is a regular expression, or instead `schema` a JSON Schema, that the whole answer must match; engines that cannot
    constrain answers ignore both. `candidates` are the labels to choose from, for code that parses an answer in order
    to ask again. `temperature` overrides the engine's.
    """

    sample_id: str
    image: Image.Image
    prompt: str
    choices: tuple[Choice, ...] = ()
    draw: int = 0
    pattern: str = ""
    schema: str = ""
    candidates: tuple[str, ...] = ()
    temperature: float | None = None
    further_images: tuple[Image.Image, ...] = ()

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """All images, in the order in which they are shown."""
        return (self.image, *self.further_images)


@dataclass(frozen=True)
class Response:
    """The model's answer to a request.

    `finish_reason` is "stop", "length", "engine error" or "image error"; `tokens` counts the generated tokens,
    including the end token. `choices` holds, for each Choice of the request, the log-probabilities of its options in
    order (in nats, not normalised over the options), or None where the text does not have the choice. `error` says what
    went wrong. `questions` is the number of queries, more than one where a method asks again. `signals` are numbers
    about the answer, and `hidden` the hidden state after its label (see emocaliber.generation.signals).
    """

    sample_id: str
    text: str
    finish_reason: str
    tokens: int = 0
    choices: tuple[tuple[float, ...] | None, ...] = ()
    error: str = ""
    questions: int = 1
    signals: dict[str, float] = field(default_factory=dict)
    hidden: bytes = b""


class Engine(Protocol):
    """Anything that answers requests.

    `name` identifies model, adapter and settings in a journal. `concurrency` is how many calls of `generate` may be in
    flight at once, from several threads, and `requests_per_call` how many requests each should have to keep the engine
    busy.
    """

    @property
    def name(self) -> str: ...

    @property
    def concurrency(self) -> int: ...

    @property
    def requests_per_call(self) -> int: ...

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in the same order. Raises nothing that concerns a single request."""
        ...


OnToken = Callable[[Request, str], bool]
"""Called from any thread with a request and its whole answer so far; returns whether to continue."""


class StreamingEngine(Engine, Protocol):
    """An engine that streams its answers."""

    def stream(self, requests: Sequence[Request], on_token: OnToken) -> list[Response]:
        """As `generate`, calling `on_token` with each answer as it grows.

        Where that returns False, the answer is stopped; its response has at most the text so far. When a batch fails
        and its requests are retried, their answers are streamed from the start again.
        """
        ...


def seed_of(seed: int, request: Request) -> int:
    """The seed, below 2**63, of one sampled answer, from the run's seed and the request, whatever the batch."""
    parts = json.dumps([seed, request.sample_id, request.prompt, request.draw])
    return int.from_bytes(hashlib.sha256(parts.encode()).digest()[:8], "big") >> 1


def answer_or_halve(answer: Callable[[Sequence[Request]], list[Response]], batch: Sequence[Request]) -> list[Response]:
    """The batch's answers. A batch that fails is halved until the failing request is alone and becomes an engine
    error."""
    try:
        return answer(batch)
    except Exception as error:  # whatever goes wrong with one request, the others' answers are kept
        if len(batch) == 1:
            reason, choices = str(error) or type(error).__name__, (None,) * len(batch[0].choices)
            return [Response(batch[0].sample_id, "", ENGINE_ERROR, choices=choices, error=reason)]
    half = len(batch) // 2
    return answer_or_halve(answer, batch[:half]) + answer_or_halve(answer, batch[half:])
