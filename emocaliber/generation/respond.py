"""From samples to responses: images are read and checked in threads ahead of the engine; a broken one gives an error
response.

Neither engine nor parser. Samples are streamed, as many at a time as the engine takes in a call; in memory are the
calls in flight and two more. With a journal, answers in it are not queried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
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
from emocaliber.generation.questions import Picture, Question, RemoteEngine, image_error, prepared

READERS = 4


_Item = TypeVar("_Item")
"""What questions are made of: a sample, or two."""
_Asked = TypeVar("_Asked")
"""What the engine takes: a request, or for a remote engine a question with its pictures still encoded."""


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

    `draw` numbers the answers that a sampling engine gives to the same question; `constrain` restricts answers to the
    template's grammar, on engines that can; pictures of more than `max_pixels` are scaled down.
    """
    reading = _Reading(engine.name, template, draw, constrain, max_pixels)
    yield from answered(samples, reading.question, engine, journal)


def answered(
    items: Iterable[_Item],
    question: Callable[[_Item], Question | Response],
    engine: Engine | RemoteEngine,
    journal: Journal | None,
) -> Generator[Response]:
    """One response for each item, in order: to the question made of it, or the one that is returned in its place.

    `question` is called from several threads, ahead of the engine. Answers in the journal are not queried again.
    """
    if isinstance(engine, RemoteEngine):
        yield from _concurrent_calls(items, engine, _Asking(question, journal, lambda asked: asked, engine.answer))
    else:
        yield from _concurrent_calls(items, engine, _Asking(question, journal, prepared, engine.generate))


def _concurrent_calls(
    items: Iterable[_Item], engine: Engine | RemoteEngine, asking: _Asking[_Item, _Asked]
) -> Iterator[Response]:
    """Keep several calls in flight, so that the engine is not idle while the last answers of one finish."""
    stream, in_flight = iter(items), deque[Future[list[Response]]]()
    callers = ThreadPoolExecutor(engine.concurrency)
    with ThreadPoolExecutor(READERS) as pool:
        try:
            while call := list(islice(stream, engine.requests_per_call)):
                in_flight.append(callers.submit(asking.answer, asking.read_ahead(pool, call)))
                if len(in_flight) > engine.concurrency:
                    yield from in_flight.popleft().result()
            while in_flight:
                yield from in_flight.popleft().result()
        finally:
            callers.shutdown(cancel_futures=True)


def choices_of(template: Template, candidates: Sequence[str]) -> tuple[Choice, ...]:
    """The choices in the template's answer: the label among the candidates, then the confidence among the levels."""
    options = {"label": tuple(candidates), "confidence": LEVEL_TEXTS}
    tags = {field: template.tags(field) for field in chosen_fields(template)}
    return tuple(Choice(opening, options[field], closing) for field, (opening, closing) in tags.items())


def chosen_fields(template: Template) -> list[str]:
    """The fields of a response's choices, in their order: label and confidence where the template tags them."""
    return [field for field in template.fields if field in ("label", "confidence") and template.is_tagged(field)]


@dataclass(frozen=True)
class _Reading:
    """Turns a sample into a question."""

    engine: str
    template: Template
    draw: int
    constrain: bool
    max_pixels: int

    def question(self, sample: Sample) -> Question | Response:
        """The question; or an image error."""
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
        return Question(key, sample.id, choices, (picture_of(sample, encoded),), self.max_pixels, asked)

    def constraint(self, candidates: Sequence[str]) -> tuple[str, str]:
        """The pattern and the JSON Schema that constrain the answer: one of them, or both empty."""
        if not self.constrain:
            return "", ""
        return (
            ("", self.template.schema(candidates)) if self.template.is_json else (self.template.pattern(candidates), "")
        )


def picture_of(sample: Sample, encoded: bytes) -> Picture:
    """A sample's picture, called by its file's name where it has one."""
    return Picture(encoded, sample.image.name if isinstance(sample.image, FileImage) else sample.id)


@dataclass(frozen=True)
class _Asking(Generic[_Item, _Asked]):
    question: Callable[[_Item], Question | Response]
    journal: Journal | None
    prepare: Callable[[Question], _Asked | Response]
    ask: Callable[[Sequence[_Asked]], list[Response]]

    def read_ahead(self, pool: Executor, items: list[_Item]) -> list[Future[tuple[str, _Asked | Response]]]:
        return [pool.submit(self.read, item) for item in items]

    def read(self, item: _Item) -> tuple[str, _Asked | Response]:
        """What to ask, with its key in the journal; or the response where that is already known."""
        question = self.question(item)
        if isinstance(question, Response):
            return "", question
        if self.journal is not None and (finished := self.journal.find(question.key)):
            return "", replace(finished, sample_id=question.sample_id)
        return question.key, self.prepare(question)

    def answer(self, coming: list[Future[tuple[str, _Asked | Response]]]) -> list[Response]:
        questions = [future.result() for future in coming]
        unanswered = [(key, asked) for key, asked in questions if not isinstance(asked, Response)]
        answers = self.ask([asked for _, asked in unanswered])
        if self.journal is not None:
            self.journal.append([(key, answer) for (key, _), answer in zip(unanswered, answers, strict=True)])
        following = iter(answers)
        return [asked if isinstance(asked, Response) else next(following) for _, asked in questions]
