"""The controller: what the page's controls do, for all sessions: take pictures, ask, judge at a threshold, filter.

What it returns is JSON for the page; `ask` and `ask_gallery` stream it, an event at a time:
{"status": text, "alert": bool}, {"writing": [{"picture", "text"}]}, {"answer": answer}, {"turns": ids that remain}.

    controller = ChatController(choice, Batcher(choice.load), Sessions())
    async for event in controller.ask(session, Ask(...)): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from emocaliber.chat.answer import Answer, readable, threshold_meaning
from emocaliber.chat.batching import Batcher, BusyError, PendingAnswer
from emocaliber.chat.gallery import Gallery, as_csv, as_jsonl, doubtful_first, filtered
from emocaliber.chat.model import ModelChoice
from emocaliber.chat.questions import LONGEST_QUESTION, read_labels, read_question
from emocaliber.chat.session import MOST_BYTES, Asking, Picture, Session, Sessions, Turn
from emocaliber.core.errors import UserError
from emocaliber.generation.engine import Response
from emocaliber.runs.doubt import Looking

POLL_SECONDS = 0.04
"""Between two looks at what is being written."""
SHOWN = 60
"""Pictures of the gallery on the page at a time; exports hold all of them."""

Event = dict[str, Any]
Threshold = Annotated[float, msgspec.Meta(ge=0, le=1)]
Text = Annotated[str, msgspec.Meta(max_length=4000)]


class InSession(msgspec.Struct, forbid_unknown_fields=True):
    """The part that all events of the page share: the id of the session."""

    session: Text


class Ask(InSession):
    """Ask about the session's pictures; `again` repeats the last question and replaces its answers."""

    labels: Text
    question: Text
    threshold: Threshold
    again: bool = False


class Judge(InSession):
    """Apply another threshold to the answers, or describe what it means for other labels."""

    labels: Text
    threshold: Threshold


class View(InSession):
    """Which of the gallery's answers to show or export."""

    label: Text
    untrusted: bool
    threshold: Threshold
    export: Literal["", "csv", "jsonl"] = ""


@dataclass(frozen=True)
class ChatController:
    """What all sessions share: who answers, the sessions, the gallery if there is one, and what looks at pictures where
    a map of doubts wants to know how familiar they are."""

    choice: ModelChoice
    batcher: Batcher
    sessions: Sessions
    threshold: float
    gallery: Gallery | None = None
    look: Looking | None = None

    def open(self) -> Event:
        """A new session, with everything that the page needs at its start."""
        choice = self.choice
        return {
            "session": self.sessions.open(),
            "model": choice.title,
            "note": choice.note,
            "label_sets": choice.label_sets,
            "labels": choice.labels,
            "threshold": self.threshold,
            "meaning": threshold_meaning(self.threshold, choice.labels, choice),
            "longest_question": LONGEST_QUESTION,
            "most_bytes": MOST_BYTES,
            "gallery": None
            if self.gallery is None
            else {
                "name": self.gallery.folder.name,
                "pictures": len(self.gallery.names),
                "reviewed": self.gallery.reviewed,
            },
        }

    def model_status(self) -> Event:
        """Whether the model is loaded."""
        loading, failure = self.batcher.loading, self.batcher.failure
        text = f"Loading {self.choice.title}. You can choose pictures already." if loading else ""
        return {"loading": loading, "status": _not_loaded(failure) if failure else text, "alert": bool(failure)}

    def add_picture(self, name: str, picture: Picture) -> Event:
        """Add a picture to a session; returns the pictures that the next question is about."""
        session = self.sessions.find(name)
        session.add_picture(picture)
        return {"pictures": [{"name": each.name, "thumbnail": each.thumbnail} for each in session.pictures]}

    def clear(self, event: InSession) -> Event:
        """Forget a session's pictures and answers."""
        self.sessions.find(event.session).clear()
        return {}

    def judge(self, event: Judge) -> Event:
        """The answers at another threshold, and what the threshold means for these labels."""
        turns = self.sessions.find(event.session).turns
        answers = [turn.read(self.choice, event.threshold).as_json() | {"turn": turn.id} for turn in turns]
        try:
            meaning, problem = threshold_meaning(event.threshold, read_labels(event.labels), self.choice), ""
        except UserError as error:
            meaning, problem = "", sentence(error)
        return {"answers": answers, "meaning": meaning, "problem": problem}

    async def ask(self, event: Ask) -> AsyncGenerator[Event]:
        """Ask, and stream events with the growing and finished answers. If the listener stops, the questions are
        withdrawn."""
        try:
            session, asking = self._begin(event)
        except UserError as error:
            yield _alert(sentence(error))
            return
        pictures, pending = list(session.pictures), list[PendingAnswer]()
        try:
            for request in session.requests(asking, self.choice):
                pending.append(self.batcher.submit(request))
            for number, (picture, answer) in enumerate(zip(pictures, pending, strict=True)):
                yield {"turns": [turn.id for turn in session.turns], **self._progress(number, len(pictures))}
                async for written in _writing(pictures[number:], pending[number:]):
                    yield {"writing": written}
                features = None if self.look is None else await asyncio.to_thread(self.look.look, [picture.image])
                session.add_turn(picture, asking, answer.result(), features)
                yield {"answer": self._shown(session.turns[-1], event.threshold)}
            yield {"turns": [turn.id for turn in session.turns], "status": "", "alert": False}
        except BusyError as busy:
            yield _alert(str(busy))
        except Exception as error:  # the engine broke, not this question: what was answered stays
            yield _alert(f"The model failed: {error}")
        finally:
            for answer in pending:
                answer.abandon()

    def _begin(self, event: Ask) -> tuple[Session, Asking]:
        session = self.sessions.find(event.session)
        if not session.pictures:
            raise UserError("choose a picture first")
        if event.again:
            return session, session.begin_again()
        question = read_question(event.question) if event.question.strip() else ""
        return session, session.begin(read_labels(event.labels), question)

    def _progress(self, done: int, total: int) -> Event:
        if self.batcher.loading:
            text = f"Loading {self.choice.title}; your question is asked as soon as it is loaded."
        else:
            others = self.batcher.waiting
            queue = f" {others} questions are in the queue." if others > total else ""
            text = f"Asking: {done} of {total} answered.{queue}"
        return {"status": text, "alert": False}

    def _shown(self, turn: Turn, threshold: float) -> Event:
        return turn.read(self.choice, threshold).as_json() | {"turn": turn.id, "thumbnail": turn.thumbnail}

    async def ask_gallery(self, event: InSession) -> AsyncGenerator[Event]:
        """Ask about every picture of the gallery; yields progress after each part."""
        gallery, total = self._gallery(), len(self._gallery().names)
        session = self.sessions.find(event.session)
        session.gallery = []
        parts = gallery.ask(self.choice, self.batcher, self.choice.labels, look=self.look)
        try:
            loading = f"Loading {self.choice.title}; it is then asked" if self.batcher.loading else "Asking"
            yield {"status": f"{loading} about {total} pictures.", "alert": False}
            async for part in parts:
                session.gallery = [*session.gallery, *part]
                yield {"status": f"{len(session.gallery)} of {total} answered.", "alert": False}
                self.sessions.find(event.session)  # which keeps it from being dropped as unused
        except (BusyError, UserError) as problem:
            yield _alert(str(problem))
        except Exception as error:  # the engine broke, not this page: what was answered stays
            yield _alert(f"The model failed: {error}")
        finally:
            await parts.aclose()

    def gallery_answers(self, event: View) -> list[Turn]:
        """A session's answers about the gallery's pictures, which `view` and `export` take."""
        return self.sessions.find(event.session).gallery

    def view(self, turns: Sequence[Turn], event: View) -> Event:
        """The first SHOWN of the selected pictures, each with its thumbnail, and the number of selected pictures."""
        thumbnails = self._gallery().thumbnails
        answers = self._chosen(turns, event)
        rows = [answer.as_json() | {"thumbnail": thumbnails.get(answer.name, "")} for answer in answers[:SHOWN]]
        return {"answers": rows, "total": len(answers)}

    def export(self, turns: Sequence[Turn], event: View) -> str:
        """All selected pictures as CSV or JSON Lines."""
        answers = self._chosen(turns, event)
        return as_csv(answers) if event.export == "csv" else as_jsonl(answers)

    def _chosen(self, turns: Sequence[Turn], event: View) -> list[Answer]:
        answers = [turn.read(self.choice, event.threshold) for turn in turns]
        return filtered(doubtful_first(answers), event.label, event.untrusted)

    def _gallery(self) -> Gallery:
        if self.gallery is None:
            raise UserError("there is no gallery here; start with --gallery FOLDER")
        return self.gallery


async def _writing(
    pictures: Sequence[Picture], pending: Sequence[PendingAnswer]
) -> AsyncGenerator[list[dict[str, str]]]:
    """Yields the unfinished answers about these pictures whenever they have grown, until the first is finished."""
    first: asyncio.Future[Response] = asyncio.wrap_future(pending[0])
    before: list[dict[str, str]] = []
    while not (await asyncio.wait([first], timeout=POLL_SECONDS))[0]:
        texts = [(picture.name, readable(answer.text)) for picture, answer in zip(pictures, pending, strict=True)]
        now = [{"picture": name, "text": text} for name, text in texts if text]
        if now != before:
            yield (before := now)


def sentence(error: Exception) -> str:
    """An error's message as a sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _not_loaded(failure: str) -> str:
    return f"The model could not be loaded: {failure}"


def _alert(text: str) -> Event:
    return {"status": text, "alert": True}
