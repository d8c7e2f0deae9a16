"""The engine protocol: requests in, responses out, in the same order and number. What every engine and its callers
share.

Not an engine. An engine answers greedily; a request that fails becomes a response with the finish reason "engine
error", and the others go on.
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
    """A place in the answer where the model chose among options: right after the last `after` in its own text.

    An engine gives the log-probability of each option at that place, whichever was written. Options of more than
    one token are scored with the first token of their ending `until`, lest "joy" be credited with "joyful".
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
    """One question: a decoded RGB image, the user's text, and the choices to report on.

    `draw` tells apart the answers drawn for the same question; a greedy engine gives the same one for each.
    `pattern`, where not empty, is a regular expression that the whole answer must match, and `schema`, in its place,
    a JSON Schema; an engine that cannot see to that ignores both. `candidates` are the labels to choose from, for what
    reads an answer in order to ask again. `temperature` stands in for the engine's own where it is not None.
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


@dataclass(frozen=True)
class Response:
    """What the model said.

    `finish_reason` is "stop", "length", "engine error" or "image error"; `tokens` counts the generated tokens, the
    end token included. `choices` holds, for each Choice of the request, the log-probabilities (natural, not
    normalised over the options) in the order of its options, or None where the text lacks the place. `error` says
    what went wrong. `questions` counts those that this took: more than one where a method asks again. `signals` are
    numbers about the answer, and `hidden` the hidden state after its label (see emocaliber.generation.signals).
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

    `name` identifies the model, its adapter and its settings in a journal. `concurrency` is how many calls of
    `generate` may be under way at once, from several threads, and `requests_per_call` how many requests each should
    bring, so that the engine is never without work.
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
"""Called with a request and all of its answer so far, as it grows, from any thread; returns whether to go on."""


class StreamingEngine(Engine, Protocol):
    """An engine that streams its answers."""

    def stream(self, requests: Sequence[Request], on_token: OnToken) -> list[Response]:
        """As `generate`, and calls `on_token` with each answer as it grows.

        Where that returns False, the answer is broken off; its response holds what was written, or less. An answer
        that is begun anew, because its batch failed, is streamed from its beginning again.
        """
        ...


def seed_of(seed: int, request: Request) -> int:
    """The seed, below 2**63, of one drawn answer: the run's seed and the request decide, not the batch."""
    parts = json.dumps([seed, request.sample_id, request.prompt, request.draw])
    return int.from_bytes(hashlib.sha256(parts.encode()).digest()[:8], "big") >> 1


def answer_or_halve(answer: Callable[[Sequence[Request]], list[Response]], batch: Sequence[Request]) -> list[Response]:
    """The batch's answers; a batch that fails is halved until the failing request stands alone, as an engine error."""
    try:
        return answer(batch)
    except Exception as error:  # whatever one request breaks, the others' answers are kept
        if len(batch) == 1:
            reason, choices = str(error) or type(error).__name__, (None,) * len(batch[0].choices)
            return [Response(batch[0].sample_id, "", ENGINE_ERROR, choices=choices, error=reason)]
    half = len(batch) // 2
    return answer_or_halve(answer, batch[:half]) + answer_or_halve(answer, batch[half:])
