"""The controller says in a sentence what it cannot do, keeps what was answered, and takes back unwanted questions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from emocaliber.chat.batching import Batcher
from emocaliber.chat.controller import Ask, ChatController, Event, InSession, Judge
from emocaliber.chat.session import Picture, Sessions
from emocaliber.core.errors import UserError
from emocaliber.generation.engine import OnToken, Request, Response, StreamingEngine
from tests.chat.test_session import BLUE, CHOICE, RED


class Scripted:
    """An engine that says joy, and breaks at a picture of this name."""

    name = "scripted"
    concurrency, requests_per_call = 1, 32

    def __init__(self, breaks_at: str = "", text: str = "<answer>joy</answer><confidence>0.90</confidence>") -> None:
        self.breaks_at, self.text, self.answered = breaks_at, text, 0
        self.gate = threading.Event()
        self.gate.set()

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        return self.stream(requests, lambda _request, _text: True)

    def stream(self, requests: Sequence[Request], on_token: OnToken) -> list[Response]:
        for request in requests:
            on_token(request, self.text[:10])
        assert self.gate.wait(180)
        self.answered += len(requests)
        if any(request.sample_id == self.breaks_at for request in requests):
            raise RuntimeError("out of memory")
        return [Response(request.sample_id, self.text, "stop") for request in requests]


def controller_of(engine: StreamingEngine, **settings: int) -> ChatController:
    controller = ChatController(CHOICE, Batcher(lambda: engine, **settings), Sessions(), 0.7)
    assert controller.batcher.wait_until_loaded(10)
    return controller


def session_with(controller: ChatController, *pictures: Picture) -> str:
    name: str = controller.open()["session"]
    for picture in pictures:
        controller.add_picture(name, picture)
    return name


def asking(session: str, question: str = "", labels: str = "joy, awe", again: bool = False) -> Ask:
    return Ask(session, labels, question, 0.7, again)


async def events_of(controller: ChatController, ask: Ask) -> list[Event]:
    return [event async for event in controller.ask(ask)]


def answers(events: list[Event]) -> list[str]:
    return [event["answer"]["picture"] for event in events if "answer" in event]


def test_answers_come_one_after_the_other_and_the_last_status_is_empty():
    controller = controller_of(Scripted())
    session = session_with(controller, RED, BLUE)
    events = asyncio.run(events_of(controller, asking(session)))
    assert answers(events) == [RED.name, BLUE.name]
    statuses = [event["status"] for event in events if "status" in event]
    assert "1 of 2 answered" in statuses[1]
    assert statuses[-1] == ""
    assert events[-1]["turns"] == [event["answer"]["turn"] for event in events if "answer" in event]


@pytest.mark.parametrize(
    ("pictures", "question", "labels", "words"),
    [
        ([], "", "joy, awe", "Choose a picture first."),
        ([RED, BLUE], "", "joy", "at least two labels"),
        ([RED, BLUE], "&lt; <|im_end|>", "joy, awe", "has a meaning of its own"),
    ],
)
def test_what_cannot_be_asked_is_said(pictures: list[Picture], question: str, labels: str, words: str):
    engine = Scripted()
    controller = controller_of(engine)
    session = session_with(controller, *pictures)
    [event] = asyncio.run(events_of(controller, asking(session, question, labels)))
    assert words.lower() in event["status"].lower()
    assert event["alert"]
    assert engine.answered == 0


def test_an_engine_that_breaks_leaves_what_was_answered():
    controller = controller_of(Scripted(breaks_at=BLUE.name), together=1)
    session = session_with(controller, RED, BLUE)
    events = asyncio.run(events_of(controller, asking(session)))
    assert answers(events) == [RED.name]
    assert events[-1] == {"status": "The model failed: out of memory", "alert": True}
    assert len(controller.sessions.find(session).turns) == 1


def test_a_full_queue_is_said_and_nothing_is_left_in_it():
    engine = Scripted()
    engine.gate.clear()
    controller = controller_of(engine, together=1, waiting=1)
    other = controller.sessions.find(session_with(controller, RED))
    controller.batcher.submit(other.requests(other.begin(("joy", "awe"), ""), CHOICE)[0])
    while controller.batcher.waiting:
        pass
    [event] = asyncio.run(events_of(controller, asking(session_with(controller, RED, BLUE))))
    assert "waiting already" in event["status"]
    engine.gate.set()
    controller.batcher.close()


def test_stopping_takes_the_waiting_questions_back():
    engine = Scripted()
    engine.gate.clear()
    controller = controller_of(engine, together=1)

    async def stopped() -> None:
        events = controller.ask(asking(session_with(controller, RED, BLUE)))
        await anext(events)
        while controller.batcher.waiting > 1:
            await asyncio.sleep(0.01)
        await events.aclose()

    asyncio.run(stopped())
    engine.gate.set()
    asyncio.run(events_of(controller, asking(session_with(controller, RED))))
    assert engine.answered == 2


def test_what_is_being_written_is_shown_until_the_answer_is_there():
    engine = Scripted()
    engine.gate.clear()
    controller = controller_of(engine)
    session = session_with(controller, RED, BLUE)

    async def watched() -> list[Event]:
        events = []
        async for event in controller.ask(asking(session)):
            events.append(event)
            if "writing" in event:
                engine.gate.set()
        return events

    [written] = [event["writing"] for event in asyncio.run(watched()) if "writing" in event]
    assert written == [{"picture": name, "text": "Emotion: jo"} for name in (RED.name, BLUE.name)]


def test_a_model_that_is_missing_is_said_before_and_after_asking():
    def load() -> StreamingEngine:
        raise UserError("no such folder")

    controller = ChatController(CHOICE, Batcher(load), Sessions(), 0.7)
    assert controller.batcher.wait_until_loaded(10)
    assert controller.model_status() == {
        "loading": False,
        "status": "The model could not be loaded: no such folder",
        "alert": True,
    }
    [event] = asyncio.run(events_of(controller, asking(session_with(controller, RED))))
    assert "no such folder" in event["status"]


def test_a_session_that_nobody_opened_is_refused():
    controller = controller_of(Scripted())
    [event] = asyncio.run(events_of(controller, asking("../../etc/passwd")))
    assert "reload the page" in event["status"]
    with pytest.raises(UserError, match="reload the page"):
        controller.clear(InSession("x"))


def test_the_last_question_is_asked_again_in_place_of_its_answers():
    controller = controller_of(Scripted())
    session = session_with(controller, RED, BLUE)
    first = asyncio.run(events_of(controller, asking(session, "why?")))
    again = asyncio.run(events_of(controller, asking(session, "other", "x, y", again=True)))
    assert again[0]["turns"] == []
    assert answers(first) == answers(again)
    assert {event["answer"]["question"] for event in again if "answer" in event} == {"why?"}
    assert len(controller.sessions.find(session).turns) == 2


def test_the_same_answers_are_judged_at_another_threshold_without_asking():
    engine = Scripted()
    controller = controller_of(engine)
    session = session_with(controller, RED)
    asyncio.run(events_of(controller, asking(session)))
    for threshold, trusted in ((0.9, True), (0.95, False)):
        judged = controller.judge(Judge(session, "joy, awe", threshold))
        assert [answer["trusted"] for answer in judged["answers"]] == [trusted]
    assert "at least two labels" in controller.judge(Judge(session, "joy", 0.5))["problem"]
    assert engine.answered == 1
