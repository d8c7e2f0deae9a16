"""A session: the pictures in question and the conversation about them, as one user sees it.

Not the page: nothing here knows of HTML. Values, never changed in place.

    python -m pytest tests/chat/test_session.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from emocaliber.chat.answers import Answer, read_answer
from emocaliber.chat.models import ModelChoice
from emocaliber.chat.pictures import Picture
from emocaliber.chat.questions import Exchange, request_of
from emocaliber.generation.engine import Request, Response

MOST_PICTURES = 12
MOST_TURNS = 60


@dataclass(frozen=True)
class Turn:
    """One question about one picture, and the response; of the picture only name and thumbnail are kept."""

    name: str
    thumbnail: str
    candidates: tuple[str, ...]
    question: str
    response: Response
    asking: int

    def read(self, choice: ModelChoice, threshold: float) -> Answer:
        """The answer, judged at this threshold."""
        return read_answer(
            self.response, choice.template, self.candidates,
            name=self.name, record=choice.record, threshold=threshold, question=self.question,
        )  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What was asked last: kept to be asked again."""

    candidates: tuple[str, ...]
    typed: str


@dataclass(frozen=True)
class Session:
    """`pictures` are in question, `turns` is the history, `askings` counts how often was asked."""

    pictures: tuple[Picture, ...] = ()
    turns: tuple[Turn, ...] = ()
    askings: int = 0
    last: Question | None = None
    answered: bool = False

    def with_pictures(self, new: Sequence[Picture]) -> Session:
        """Add pictures; those that were asked about already make room for them."""
        before = () if self.answered and new else self.pictures
        return replace(self, pictures=(*before, *new)[:MOST_PICTURES], answered=self.answered and not new)

    def asking(self, question: Question) -> Session:
        """The session as a new asking begins."""
        return replace(self, askings=self.askings + 1, last=question, answered=True)

    def retrying(self) -> Session:
        """The session before its last asking, to ask it again."""
        return replace(self, turns=tuple(turn for turn in self.turns if turn.asking != self.askings))

    def requests(self, choice: ModelChoice, question: Question) -> list[Request]:
        """One request for each picture, its own history quoted where the question was typed."""
        return [
            request_of(
                picture.name, picture.image, choice.template, question.candidates,
                question=question.typed, history=self._history(picture),
            )
            for picture in self.pictures
        ]  # fmt: skip

    def _history(self, picture: Picture) -> list[Exchange]:
        own = (turn for turn in self.turns if turn.thumbnail == picture.thumbnail and turn.response.text)
        return [Exchange(turn.question, turn.response.text) for turn in own]

    def with_turn(self, picture: Picture, question: Question, response: Response) -> Session:
        """Add an answer; the oldest goes where there are too many."""
        turn = Turn(picture.name, picture.thumbnail, question.candidates, question.typed, response, self.askings)
        return replace(self, turns=(*self.turns, turn)[-MOST_TURNS:])

    def as_json(self, choice: ModelChoice, threshold: float) -> str:
        """The conversation as a JSON list of answers."""
        return json.dumps([turn.read(choice, threshold).as_json() for turn in self.turns], ensure_ascii=False, indent=1)
