"""Questions whose pictures are still encoded: what is read on one machine may be decoded and answered on another.

Not a request, of which an engine is given the decoded picture: `prepared` makes that, here or there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from emocaliber.core.files import utf8_path
from emocaliber.core.images import ImageError, decode_image, downscale
from emocaliber.generation.engine import IMAGE_ERROR, Choice, Request, Response


@dataclass(frozen=True)
class Question:
    """A request that lacks its picture, and the picture as it was read: the encoded file's bytes.

    `key` is the question's in a journal, `name` what to call the picture in an error; one of more than `max_pixels` is
    made smaller.
    """

    key: str
    sample_id: str
    choices: tuple[Choice, ...]
    encoded: bytes
    name: str
    max_pixels: int
    asked: partial[Request]


def prepared(question: Question) -> Request | Response:
    """The request with its picture decoded; a response that says what is wrong with the picture."""
    try:
        image = downscale(decode_image(question.encoded, question.name), question.max_pixels)
    except ImageError as error:
        return image_error(question.sample_id, question.choices, error)
    return question.asked(image=image)


def image_error(sample_id: str, choices: Sequence[Choice], error: ImageError) -> Response:
    """The response in the place of a question whose picture cannot be shown."""
    return Response(sample_id, "", IMAGE_ERROR, choices=(None,) * len(choices), error=utf8_path(str(error)))


class RemoteEngine(ABC):
    """Engines elsewhere, that are given questions and decode the pictures there. `name`, `concurrency` and
    `requests_per_call` are as an Engine's."""

    name: str
    concurrency: int
    requests_per_call: int

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> list[Response]:
        """One response for each question, in the same order. May be called from `concurrency` threads at once."""
