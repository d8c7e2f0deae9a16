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
class Picture:
    """An encoded picture as it was read, and what to call it in an error."""

    encoded: bytes
    name: str


@dataclass(frozen=True)
class Question:
    """A request that lacks its pictures, and the pictures, one or more.

    `key` is the question's in a journal; a picture of more than `max_pixels` is made smaller.
    """

    key: str
    sample_id: str
    choices: tuple[Choice, ...]
    pictures: tuple[Picture, ...]
    max_pixels: int
    asked: partial[Request]


def prepared(question: Question) -> Request | Response:
    """The request with its pictures decoded; a response that says what is wrong with one of them."""
    try:
        images = [
            downscale(decode_image(picture.encoded, picture.name), question.max_pixels) for picture in question.pictures
        ]
    except ImageError as error:
        return image_error(question.sample_id, question.choices, error)
    return question.asked(image=images[0], further_images=tuple(images[1:]))


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
