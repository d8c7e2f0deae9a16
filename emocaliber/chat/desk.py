"""The desk: what the page's controls do, for all sessions: take pictures, ask, judge at a threshold, say what is up.

Not the layout (see page) and not the state (see session). What it returns is what the page shows next.

    python -m pytest tests/chat/test_desk.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from emocaliber.chat import sentences
from emocaliber.chat.batching import Batcher, BusyError, Coming
from emocaliber.chat.models import ModelChoice
from emocaliber.chat.pictures import Picture, Waiting
from emocaliber.chat.questions import read_candidates, read_question
from emocaliber.chat.rendering import answers_html, message_html, tray_html, writing_html
from emocaliber.chat.session import MOST_PICTURES, Question, Session
from emocaliber.core.errors import UserError
from emocaliber.core.taxonomy import TAXONOMIES
from emocaliber.generation.engine import Response

OWN = "my own"
LOOK_AGAIN = 0.3
"""Seconds between two looks at whether the model is loaded."""

LISTEN = 0.04
"""Seconds between two looks at what is being written."""

Shown = tuple[Session, str, str, str, str]
"""The session, its answers as HTML, the status as HTML, the conversation as JSON, what is being written as HTML."""
Written = str
"""Only the last of these: the rest is as it was."""


@dataclass(frozen=True)
class Desk:
    """What all sessions share: who answers, what is known of it, and the pictures on their way in."""

    choice: ModelChoice
    batcher: Batcher
    waiting: Waiting

    def model_status(self) -> str:
        """Whether the model is there; empty when it is."""
        if self.batcher.loading:
            return message_html(f"Loading {self.choice.title}. You may choose pictures already.")
        if self.batcher.failure:
            return message_html(f"The model is not there: {self.batcher.failure}", "alert")
        return ""

    async def opening(self) -> AsyncIterator[str]:
        """The model's status as the page opens, until the model is loaded or known not to be."""
        while self.batcher.loading:
            yield self.model_status()
            await asyncio.sleep(LOOK_AGAIN)
        yield self.model_status()

    def received(self, session: Session, tokens: Sequence[str], refused: Sequence[str]) -> tuple[Session, str, str]:
        """Take the pictures that the picker has sent; session, tray, and what was refused."""
        taken = [self.waiting.take(token) for token in tokens]
        pictures = [picture for picture in taken if picture is not None]
        problems = list(refused)
        if len(pictures) < len(taken):
            problems.append("A picture took too long to arrive; choose it again.")
        after = session.with_pictures(pictures)
        if pictures and pictures[-1] not in after.pictures:
            problems.append(f"At most {MOST_PICTURES} pictures are asked about at a time.")
        return after, tray_html(after.pictures), message_html(" ".join(problems), "alert")

    async def ask(
        self, session: Session, taxonomy: str, own: str, typed: str, threshold: float
    ) -> AsyncIterator[Shown | Written]:
        """Ask what the controls say."""
        try:
            question = Question(candidates_of(taxonomy, own), read_question(typed) if typed.strip() else "")
        except UserError as error:
            yield self.shown(session, threshold, _sentence(error), "alert")
            return
        async for shown in self._ask(session, question, threshold):
            yield shown

    async def ask_again(self, session: Session, threshold: float) -> AsyncIterator[Shown | Written]:
        """Ask the last question again, in place of its answers."""
        if session.last is None:
            yield self.shown(session, threshold, "Nothing was asked yet.", "alert")
            return
        async for shown in self._ask(session.retrying(), session.last, threshold):
            yield shown

    def judged(self, session: Session, taxonomy: str, own: str, threshold: float) -> tuple[str, str, str, str]:
        """The same answers at another threshold: answers, what it means, JSON; and the feelings to choose from."""
        as_json, means = session.as_json(self.choice, threshold), self.meaning(taxonomy, own, threshold)
        return self.answers(session, threshold), means, as_json, feelings(taxonomy, own)

    def answers(self, session: Session, threshold: float) -> str:
        """The conversation as HTML."""
        return answers_html([(turn.read(self.choice, threshold), turn.thumbnail) for turn in session.turns])

    def meaning(self, taxonomy: str, own: str, threshold: float) -> str:
        """What the threshold means for the chosen candidates."""
        try:
            record = self.choice.record.of(candidates_of(taxonomy, own))
        except UserError:
            record = None
        return message_html(sentences.meaning(threshold, None if record is None else record.at(threshold)))

    def shown(self, session: Session, threshold: float, message: str, kind: str = "status") -> Shown:
        """The whole of what the page shows of a session."""
        as_json = session.as_json(self.choice, threshold)
        return session, self.answers(session, threshold), message_html(message, kind), as_json, ""

    async def _ask(self, session: Session, question: Question, threshold: float) -> AsyncIterator[Shown | Written]:
        """The page after each answer, and what is written meanwhile. Who stops listening takes the questions back."""
        pictures = session.pictures
        if not pictures:
            yield self.shown(session, threshold, "Choose a picture first.", "alert")
            return
        coming: list[Coming] = []
        try:
            for request in session.requests(self.choice, question):
                coming.append(self.batcher.submit(request))
            session = session.asking(question)
            for number, (picture, future) in enumerate(zip(pictures, coming, strict=True)):
                yield self.shown(session, threshold, self._progress(number, len(pictures)))
                answer = asyncio.wrap_future(future)
                async for written in _writing(answer, pictures[number:], coming[number:]):
                    yield written
                session = session.with_turn(picture, question, await answer)
            yield self.shown(session, threshold, "")
        except BusyError as busy:
            yield self.shown(session, threshold, str(busy), "alert")
        except Exception as error:  # the engine broke, not this question: what was answered stays
            yield self.shown(session, threshold, f"The model is gone: {error}", "alert")
        finally:
            for future in coming:
                future.take_back()

    def _progress(self, done: int, total: int) -> str:
        if self.batcher.loading:
            return f"Loading {self.choice.title}; the question is asked as soon as it is there."
        others = self.batcher.waiting
        queue = f" {others} questions wait in the queue." if others > total else ""
        return f"Asking: {done} of {total} answered.{queue}"


async def _writing(
    until: asyncio.Future[Response], pictures: Sequence[Picture], coming: Sequence[Coming]
) -> AsyncIterator[Written]:
    """What is being written about these pictures, whenever it has grown, until an answer is there."""
    before = ""
    while not (await asyncio.wait([until], timeout=LISTEN))[0]:
        texts = [(picture.name, one.text) for picture, one in zip(pictures, coming, strict=True) if one.text]
        if (now := writing_html(texts)) != before:
            yield (before := now)


def feelings(taxonomy: str, own: str) -> str:
    """The chosen candidates as HTML; what is wrong with them where they were typed so."""
    try:
        return message_html(", ".join(candidates_of(taxonomy, own)))
    except UserError as error:
        return message_html(_sentence(error))


def _sentence(error: UserError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def candidates_of(taxonomy: str, own: str) -> tuple[str, ...]:
    """The labels of the named taxonomy, or those typed. Raises UserError where these cannot be asked about."""
    named = TAXONOMIES.get(taxonomy)
    return read_candidates(own) if named is None else named.labels
