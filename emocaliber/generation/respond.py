"""From samples to responses: images are opened and checked in threads ahead of the engine, a broken one is a row.

Not an engine and not a reader. Samples are taken as a stream, as many at a time as the engine wants in a call; in
memory are the calls under way and two more. With a journal, what it holds is not asked again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from emocaliber.core.images import SHOWN_PIXELS, ImageError, decode_image, image_hash, read_image_bytes, shown
from emocaliber.core.prompting import LEVEL_TEXTS, Template
from emocaliber.core.samples import FileImage, Sample
from emocaliber.generation.engine import IMAGE_ERROR, Choice, Engine, Request, Response
from emocaliber.generation.journal import Journal, content_key

READERS = 4


def respond(
    samples: Iterable[Sample],
    engine: Engine,
    template: Template,
    *,
    journal: Journal | None = None,
    draw: int = 0,
    constrain: bool = False,
    max_pixels: int = SHOWN_PIXELS,
) -> Iterator[Response]:
    """One response for each sample, in order. While the engine answers one call, the next one's images are read.

    `draw` numbers the answers drawn for the same question by an engine that samples; `constrain` lets an engine
    that can write nothing but what the template could; a picture of more than `max_pixels` is made smaller.
    """
    stream, size = iter(samples), engine.requests_per_call
    asking = _Asking(engine, template, journal, draw, constrain, max_pixels)
    with ThreadPoolExecutor(READERS) as pool:
        calls = (asking.read_ahead(pool, call) for call in iter(lambda: list(islice(stream, size)), []))
        yield from _side_by_side(calls, asking)


def _side_by_side(calls: Iterable[list[Future[_Question]]], asking: _Asking) -> Iterator[Response]:
    """Several calls under way, so that the engine is not idle while the last answers of one are finished."""
    under_way: deque[Future[list[Response]]] = deque()
    callers = ThreadPoolExecutor(asking.engine.concurrency)
    try:
        for call in calls:
            under_way.append(callers.submit(asking.answer, call))
            if len(under_way) > asking.engine.concurrency:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    finally:
        callers.shutdown(cancel_futures=True)


def choices_of(template: Template, candidates: Sequence[str]) -> tuple[Choice, ...]:
    """Where the template's answer chooses: the label among the candidates, then the confidence among the levels."""
    options = {"label": tuple(candidates), "confidence": LEVEL_TEXTS}
    tags = {field: template.tags(field) for field in chosen_fields(template)}
    return tuple(Choice(opening, options[field], closing) for field, (opening, closing) in tags.items())


def chosen_fields(template: Template) -> list[str]:
    """The fields to which a response's choices belong, in their order: those that stand in tags."""
    return [field for field in template.fields if field in ("label", "confidence") and template.is_tagged(field)]


@dataclass(frozen=True)
class _Question:
    """A request with its key, or the response that stands in its place: finished before, or without a usable image."""

    key: str
    request: Request | Response


@dataclass(frozen=True)
class _Asking:
    engine: Engine
    template: Template
    journal: Journal | None
    draw: int
    constrain: bool
    max_pixels: int

    def read_ahead(self, pool: Executor, samples: list[Sample]) -> list[Future[_Question]]:
        return [pool.submit(self.question, sample) for sample in samples]

    def question(self, sample: Sample) -> _Question:
        choices = choices_of(self.template, sample.candidates)
        prompt = self.template.render(sample.candidates)
        pattern, schema = self.constraint(sample.candidates)
        name = sample.image.name if isinstance(sample.image, FileImage) else sample.id
        key = ""
        try:
            encoded = read_image_bytes(sample.image)
            key = content_key(
                image_hash(encoded),
                prompt,
                pattern or schema,
                self.template.hash,
                sample.candidates,
                self.engine.name,
                self.draw,
                self.max_pixels,
            )
            finished = self.journal.find(key) if self.journal is not None else None
            if finished:
                return _Question(key, replace(finished, sample_id=sample.id))
            image = shown(decode_image(encoded, name), self.max_pixels)
            request = Request(sample.id, image, prompt, choices, self.draw, pattern, schema, sample.candidates)
            return _Question(key, request)
        except ImageError as error:
            failed = Response(sample.id, "", IMAGE_ERROR, choices=(None,) * len(choices), error=str(error))
            return _Question(key, failed)

    def constraint(self, candidates: Sequence[str]) -> tuple[str, str]:
        """The pattern or the JSON Schema that the answer is held to; both empty where it is free."""
        if not self.constrain:
            return "", ""
        return (
            ("", self.template.schema(candidates)) if self.template.is_json else (self.template.pattern(candidates), "")
        )

    def answer(self, coming: list[Future[_Question]]) -> list[Response]:
        questions = [future.result() for future in coming]
        unanswered = [question for question in questions if isinstance(question.request, Request)]
        answers = self.engine.generate(
            [question.request for question in unanswered if isinstance(question.request, Request)]
        )
        if self.journal is not None:
            self.journal.append([(question.key, answer) for question, answer in zip(unanswered, answers, strict=True)])
        following = iter(answers)
        return [
            next(following) if isinstance(question.request, Request) else question.request for question in questions
        ]
