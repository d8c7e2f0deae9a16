"""A session: one user's pictures and the conversation about them, in memory only, and not for long.

Pictures are checked before they are decoded, stripped of all but their pixels (EXIF included), and never written to
the disk.

    sessions = Sessions()
    session = sessions.find(sessions.open())
    session.add_picture(read_picture(encoded, "face.png"))
"""

from __future__ import annotations

import base64
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

from emocaliber.calibration.conformal import Floats
from emocaliber.chat.answer import Answer, read_answer
from emocaliber.chat.model import ModelChoice
from emocaliber.chat.questions import Exchange, request_of
from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS, ImageError, decode_image, downscale
from emocaliber.generation.engine import Request, Response

MOST_BYTES = 20_000_000
THUMBNAIL = 320
LONGEST_NAME = 80
MOST_PICTURES, MOST_TURNS = 12, 60
MOST_SESSIONS, IDLE_SECONDS = 128, 900.0


@dataclass(frozen=True)
class Picture:
    """A checked picture: RGB, no more pixels than a model is shown; `thumbnail` is a data: URI made from it."""

    name: str
    image: Image.Image
    thumbnail: str


def read_picture(encoded: bytes, name: str, max_pixels: int = SHOWN_PIXELS) -> Picture:
    """Check, decode, keep only the pixels, and at most `max_pixels` of them. Raises ImageError with one sentence."""
    name = display_name(name)
    if len(encoded) > MOST_BYTES:
        raise ImageError(f"{name}: {len(encoded):,} bytes are more than the {MOST_BYTES:,} allowed")
    image = downscale(decode_image(encoded, name), max_pixels)
    image.info.clear()
    return Picture(name, image, _thumbnail(image))


def _thumbnail(image: Image.Image) -> str:
    """A small copy as a data: URI; WebP, pixels alone."""
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def display_name(name: str) -> str:
    """A file's name for display alone: its last part, printable, of bounded length."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(character for character in last if character.isprintable()).strip()
    return printable[:LONGEST_NAME] or "picture"


@dataclass(frozen=True)
class Asking:
    """A question that was asked about all pictures at once; `question` is what was typed, empty for the trained one."""

    number: int
    labels: tuple[str, ...]
    question: str


@dataclass(frozen=True)
class Turn:
    """An asking about a picture, and the response; of the picture only name and thumbnail remain.

    `id` counts the turns of a session, or the pictures of a gallery; `thumbnail` is empty for an unusable picture;
    `features` [1, w] are what its familiarity is judged by, None where that is not asked for.
    """

    id: int
    name: str
    thumbnail: str
    asking: Asking
    response: Response
    features: Floats | None = field(default=None, compare=False)

    def read(self, choice: ModelChoice, threshold: float) -> Answer:
        """The answer, judged at this threshold."""
        asking = self.asking
        return read_answer(
            self.response,
            choice,
            asking.labels,
            name=self.name,
            threshold=threshold,
            question=asking.question,
            features=self.features,
        )


@dataclass
class Session:
    """`pictures` are those that the next question is about, `turns` is the history, `last` what was asked last;
    `answers` counts all answers so far, and `gallery` holds those about the gallery's pictures.

    Used from the server's event loop alone.
    """

    pictures: list[Picture] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    gallery: list[Turn] = field(default_factory=list)
    last: Asking | None = None
    answers: int = 0
    answered: bool = False

    def add_picture(self, picture: Picture) -> None:
        """Add a picture; those that were asked about already make room for it. Raises UserError where it is full."""
        if self.answered:
            self.pictures, self.answered = [], False
        if len(self.pictures) >= MOST_PICTURES:
            raise UserError(f"{picture.name}: at most {MOST_PICTURES} pictures are asked about at a time")
        self.pictures.append(picture)

    def begin(self, labels: tuple[str, ...], question: str) -> Asking:
        """A new asking."""
        self.last = Asking(1 if self.last is None else self.last.number + 1, labels, question)
        self.answered = True
        return self.last

    def begin_again(self) -> Asking:
        """The last asking once more, in place of its answers. Raises UserError where nothing was asked yet."""
        if self.last is None:
            raise UserError("nothing has been asked yet")
        self.turns = [turn for turn in self.turns if turn.asking != self.last]
        return self.begin(self.last.labels, self.last.question)

    def requests(self, asking: Asking, choice: ModelChoice) -> list[Request]:
        """A request for each picture, its own history quoted where the question was typed."""
        return [
            request_of(
                picture.name,
                picture.image,
                choice.template,
                asking.labels,
                question=asking.question,
                history=self._history(picture),
            )
            for picture in self.pictures
        ]

    def _history(self, picture: Picture) -> Sequence[Exchange]:
        about = (turn for turn in self.turns if turn.thumbnail == picture.thumbnail and turn.response.text)
        return [Exchange(turn.asking.question, turn.response.text) for turn in about]

    def add_turn(self, picture: Picture, asking: Asking, response: Response, features: Floats | None = None) -> None:
        """Add an answer; the oldest are dropped where there are too many."""
        self.answers += 1
        turn = Turn(self.answers, picture.name, picture.thumbnail, asking, response, features)
        self.turns = [*self.turns, turn][-MOST_TURNS:]

    def clear(self) -> None:
        """Forget pictures and conversation."""
        self.pictures, self.turns, self.last, self.answered = [], [], None, False


class Sessions:
    """All users' sessions, each under a name that nobody can guess.

    A session is dropped after `seconds` without use, and the one unused for longest where there are more than `most`.
    """

    def __init__(self, seconds: float = IDLE_SECONDS, most: int = MOST_SESSIONS) -> None:
        self._seconds, self._most = seconds, most
        self._sessions: OrderedDict[str, tuple[float, Session]] = OrderedDict()

    def __len__(self) -> int:
        self._drop()
        return len(self._sessions)

    def open(self) -> str:
        """A new session's name."""
        name = secrets.token_urlsafe(24)
        self._sessions[name] = (time.monotonic(), Session())
        self._drop()
        return name

    def find(self, name: str) -> Session:
        """The session of that name, which counts as used. Raises UserError where there is none, or no longer."""
        self._drop()
        entry = self._sessions.pop(name, None)
        if entry is None:
            raise UserError("this session has ended: reload the page")
        self._sessions[name] = (time.monotonic(), entry[1])
        return entry[1]

    def _drop(self) -> None:
        oldest = time.monotonic() - self._seconds
        while self._sessions and (len(self._sessions) > self._most or next(iter(self._sessions.values()))[0] < oldest):
            self._sessions.popitem(last=False)
