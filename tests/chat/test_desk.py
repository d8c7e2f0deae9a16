"""The desk says in a sentence what it cannot do, keeps what was answered, and takes back what nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from emocaliber.chat.batching import Batcher
from emocaliber.chat.desk import Desk, Shown, Written
from emocaliber.chat.pictures import Waiting
from emocaliber.chat.session import Session
from emocaliber.core.errors import UserError
from emocaliber.generation.engine import Heard, Request, Response, StreamingEngine
from tests.chat.test_session import BLUE, CHOICE, RED

TWO = Session().with_pictures([RED, BLUE])


class Scripted:
    """An engine that says joy, and breaks at a picture of this name."""

    name = "scripted"

    def __init__(self, breaks_at: str = "") -> None:
        self.breaks_at, self.asked = breaks_at, 0
        self.gate = threading.Event()
        self.gate.set()

    def stream(self, requests: Sequence[Request], heard: Heard) -> list[Response]:
        for one in requests:
            heard(one, "<answer>jo")
        assert self.gate.wait(10)
        self.asked += len(requests)
        if any(one.sample_id == self.breaks_at for one in requests):
            raise RuntimeError("out of memory")
        text = "<answer>joy</answer><confidence>0.90</confidence>"
        return [Response(one.sample_id, text, "stop") for one in requests]


def desk(engine: StreamingEngine, **settings: int) -> Desk:
    found = Desk(CHOICE, Batcher(lambda: engine, **settings), Waiting())
    assert found.batcher.wait_until_loaded(10)
    return found


async def all_of(desk: Desk, session: Session, typed: str = "", own: str = "joy, awe") -> list[Shown]:
    """The pages shown, without what is shown while an answer is being written."""
    updates = [update async for update in desk.ask(session, "my own", own, typed, 0.7)]
    return [update for update in updates if not isinstance(update, str)]


def test_answers_come_one_after_the_other_and_the_last_page_is_quiet():
    pages = asyncio.run(all_of(desk(Scripted()), TWO))
    assert [len(page[0].turns) for page in pages] == [0, 1, 2]
    assert "1 of 2 answered" in pages[1][2]
    assert pages[-1][2] == ""


@pytest.mark.parametrize(
    ("session", "typed", "own", "words"),
    [
        (Session(), "", "joy, awe", "Choose a picture first"),
        (TWO, "", "joy", "at least two feelings"),
        (TWO, "&lt; <|im_end|>", "joy, awe", "has a meaning of its own"),
    ],
)
def test_what_cannot_be_asked_is_said(session: Session, typed: str, own: str, words: str):
    engine = Scripted()
    [page] = asyncio.run(all_of(desk(engine), session, typed, own))
    assert words in page[2]
    assert engine.asked == 0


def test_an_engine_that_breaks_leaves_what_was_answered():
    pages = asyncio.run(all_of(desk(Scripted(breaks_at=BLUE.name), together=1), TWO))
    assert len(pages[-1][0].turns) == 1
    assert "The model is gone: out of memory" in pages[-1][2]


def test_a_full_queue_is_said_and_nothing_is_left_in_it():
    engine = Scripted()
    engine.gate.clear()
    busy = desk(engine, together=1, waiting=1)
    busy.batcher.submit(TWO.requests(CHOICE, _question())[0])
    while busy.batcher.waiting:
        pass
    [page] = asyncio.run(all_of(busy, TWO))
    assert "waiting already" in page[2]
    engine.gate.set()
    busy.batcher.close()


def _question():  # noqa: ANN202
    from tests.chat.test_session import PLAIN

    return PLAIN


def test_stopping_takes_the_waiting_questions_back():
    engine = Scripted()
    engine.gate.clear()
    one_by_one = desk(engine, together=1)

    async def stopped() -> None:
        pages = one_by_one.ask(TWO, "my own", "joy, awe", "", 0.7)
        await anext(pages)
        while one_by_one.batcher.waiting > 1:
            await asyncio.sleep(0.01)
        await pages.aclose()

    asyncio.run(stopped())
    engine.gate.set()
    asyncio.run(all_of(one_by_one, Session().with_pictures([RED])))
    assert engine.asked == 2


def test_what_is_being_written_is_shown_and_gone_with_the_answer():
    engine = Scripted()
    engine.gate.clear()
    slow = desk(engine)

    async def watched() -> list[Shown | Written]:
        seen: list[Shown | Written] = []
        async for update in slow.ask(TWO, "my own", "joy, awe", "", 0.7):
            seen.append(update)
            if isinstance(update, str):
                engine.gate.set()
        return seen

    updates = asyncio.run(watched())
    [written] = [update for update in updates if isinstance(update, str)]
    assert written.count("Feeling: jo<") == 2
    assert RED.name in written
    assert "&lt;" not in written
    assert [update[4] for update in updates if not isinstance(update, str)] == ["", "", ""]


def test_a_model_that_is_missing_is_said_before_and_after_asking():
    def load() -> StreamingEngine:
        raise UserError("no such folder")

    broken = Desk(CHOICE, Batcher(load), Waiting())
    assert broken.batcher.wait_until_loaded(10)
    assert "no such folder" in broken.model_status()
    [page] = asyncio.run(all_of(broken, TWO))
    assert "no such folder" in page[2]


def test_a_token_that_nobody_gave_is_no_picture():
    session, tray, message = desk(Scripted()).received(Session(), ["../../etc/passwd"], [])
    assert session.pictures == ()
    assert tray == ""
    assert "choose it again" in message


def test_the_last_question_is_asked_again_in_place_of_its_answers():
    asked = desk(Scripted())

    async def twice() -> list[Shown]:
        session = (await all_of(asked, TWO))[-1][0]
        updates = [update async for update in asked.ask_again(session, 0.7)]
        return [update for update in updates if not isinstance(update, str)]

    assert [len(page[0].turns) for page in asyncio.run(twice())] == [0, 1, 2]
