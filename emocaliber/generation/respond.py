"""From samples to responses: images are opened and checked in threads ahead of the engine, a broken one is a row.

Not an engine and not a reader. Samples are taken as a stream, a chunk at a time; a million of them need no more
memory than two chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice

from emocaliber.generation.engine import IMAGE_ERROR, Choice, Engine, Request, Response
from emocaliber.images import ImageError, load_image
from emocaliber.prompting import LEVEL_TEXTS, Template
from emocaliber.samples import Sample

READERS = 4


def respond(
    samples: Iterable[Sample], engine: Engine, template: Template, *, chunk_size: int = 256
) -> Iterator[Response]:
    """One response for each sample, in order. While the engine answers one chunk, the next one's images are read."""
    stream = iter(samples)
    with ThreadPoolExecutor(READERS) as pool:
        coming = _read_ahead(pool, list(islice(stream, chunk_size)), template)
        while coming:
            current, coming = coming, _read_ahead(pool, list(islice(stream, chunk_size)), template)
            yield from _answer([future.result() for future in current], engine)


def request_for(sample: Sample, template: Template) -> Request | Response:
    """The sample's question; where its image cannot be used, the response that says so."""
    choices = choices_of(template, sample.candidates)
    try:
        image = load_image(sample.image)
    except ImageError as error:
        return Response(sample.id, "", IMAGE_ERROR, choices=(None,) * len(choices), error=str(error))
    return Request(sample.id, image, template.render(sample.candidates), choices)


def choices_of(template: Template, candidates: Sequence[str]) -> tuple[Choice, ...]:
    """Where the template's answer chooses: the label among the candidates, then the confidence among the levels."""
    options = {"label": tuple(candidates), "confidence": LEVEL_TEXTS}
    tags = {field: template.tags(field) for field in chosen_fields(template)}
    return tuple(Choice(opening, options[field], closing) for field, (opening, closing) in tags.items())


def chosen_fields(template: Template) -> list[str]:
    """The fields to which a response's choices belong, in their order."""
    return [field for field in template.fields if field in ("label", "confidence")]


def _read_ahead(pool: Executor, samples: list[Sample], template: Template) -> list[Future[Request | Response]]:
    return [pool.submit(request_for, sample, template) for sample in samples]


def _answer(asked: list[Request | Response], engine: Engine) -> Iterator[Response]:
    answers = iter(engine.generate([request for request in asked if isinstance(request, Request)]))
    for request in asked:
        yield next(answers) if isinstance(request, Request) else request
