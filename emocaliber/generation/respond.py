"""From samples to responses: images are opened and checked in threads ahead of the engine, a broken one is a row.

Not an engine and not a reader. Samples are taken as a stream, as many at a time as the engine wants in a call; in
memory are the calls under way and two more. With a journal, what it holds is not asked again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from emocaliber.core.images import SHOWN_PIXELS, ImageError, image_hash, read_image_bytes
from emocaliber.core.prompting import LEVEL_TEXTS, Template
from emocaliber.core.samples import FileImage, Sample
from emocaliber.generation.engine import Choice, Engine, Request, Response
from emocaliber.generation.journal import Journal, content_key
from emocaliber.generation.questions import Question, RemoteEngine, image_error, prepared

READERS = 4


_Asked = TypeVar("_Asked")
"""What is handed to an engine: a request, or where the engine is elsewhere, a question with its picture encoded."""


def respond(
    samples: Iterable[Sample],
    engine: Engine | RemoteEngine,
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
    reading = _Reading(engine.name, template, journal, draw, constrain, max_pixels)
    if isinstance(engine, RemoteEngine):
        yield from _side_by_side(samples, engine, _Asking(reading, lambda question: question, engine.answer))
    else:
        yield from _side_by_side(samples, engine, _Asking(reading, prepared, engine.generate))


def _side_by_side(
    samples: Iterable[Sample], engine: Engine | RemoteEngine, asking: _Asking[_Asked]
) -> Iterator[Response]:
    """Several calls under way, so that the engine is not idle while the last answers of one are finished."""
    stream, under_way = iter(samples), deque[Future[list[Response]]]()
    callers = ThreadPoolExecutor(engine.concurrency)
    with ThreadPoolExecutor(READERS) as pool:
        try:
            while call := list(islice(stream, engine.requests_per_call)):
                under_way.append(callers.submit(asking.answer, asking.read_ahead(pool, call)))
                if len(under_way) > engine.concurrency:
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
class _Reading:
    """From a sample to a question, and to the response that stands in its place where it is known already."""

    engine: str
    template: Template
    journal: Journal | None
    draw: int
    constrain: bool
    max_pixels: int

    def question(self, sample: Sample) -> Question | Response:
        """The question; or the finished response from before, or that of a picture that cannot be read."""
        choices = choices_of(self.template, sample.candidates)
        prompt = self.template.render(sample.candidates, question=sample.question)
        pattern, schema = self.constraint(sample.candidates)
        try:
            encoded = read_image_bytes(sample.image)
        except ImageError as error:
            return image_error(sample.id, choices, error)
        key = content_key(
            image_hash(encoded),
            prompt,
            pattern or schema,
            self.template.hash,
            sample.candidates,
            self.engine,
            self.draw,
            self.max_pixels,
        )
        if self.journal is not None and (finished := self.journal.find(key)):
            return replace(finished, sample_id=sample.id)
        name = sample.image.name if isinstance(sample.image, FileImage) else sample.id
        asked = partial(
            Request,
            sample.id,
            prompt=prompt,
            choices=choices,
            draw=self.draw,
            pattern=pattern,
            schema=schema,
            candidates=sample.candidates,
        )
        return Question(key, sample.id, choices, encoded, name, self.max_pixels, asked)

    def constraint(self, candidates: Sequence[str]) -> tuple[str, str]:
        """The pattern or the JSON Schema that the answer is held to; both empty where it is free."""
        if not self.constrain:
            return "", ""
        return (
            ("", self.template.schema(candidates)) if self.template.is_json else (self.template.pattern(candidates), "")
        )


@dataclass(frozen=True)
class _Asking(Generic[_Asked]):
    reading: _Reading
    prepare: Callable[[Question], _Asked | Response]
    ask: Callable[[Sequence[_Asked]], list[Response]]

    def read_ahead(self, pool: Executor, samples: list[Sample]) -> list[Future[tuple[str, _Asked | Response]]]:
        return [pool.submit(self.read, sample) for sample in samples]

    def read(self, sample: Sample) -> tuple[str, _Asked | Response]:
        """What to ask, with its key in the journal; or the response that stands in its place."""
        question = self.reading.question(sample)
        return ("", question) if isinstance(question, Response) else (question.key, self.prepare(question))

    def answer(self, coming: list[Future[tuple[str, _Asked | Response]]]) -> list[Response]:
        questions = [future.result() for future in coming]
        unanswered = [(key, asked) for key, asked in questions if not isinstance(asked, Response)]
        answers = self.ask([asked for _, asked in unanswered])
        if self.reading.journal is not None:
            self.reading.journal.append([(key, answer) for (key, _), answer in zip(unanswered, answers, strict=True)])
        following = iter(answers)
        return [asked if isinstance(asked, Response) else next(following) for _, asked in questions]
