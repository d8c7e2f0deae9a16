"""Questions gather while the engine works, go together, can be taken back, and are never left without an end."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from PIL import Image

from emocaliber.chat.batching import Batcher, BusyError
from emocaliber.core.errors import UserError
from emocaliber.generation.engine import OnToken, Request, Response, StreamingEngine

PICTURE = Image.new("RGB", (8, 8))


def request(name: str) -> Request:
    return Request(name, PICTURE, "?")


class Gated:
    """An engine that answers with the question's id once the gate is open."""

    name = "gated"

    def __init__(self) -> None:
        self.gate, self.started = threading.Event(), threading.Event()

    def stream(self, requests: Sequence[Request], on_token: OnToken) -> list[Response]:
        self.waited_for = [on_token(request, request.sample_id[:1]) for request in requests]
        self.started.set()
        assert self.gate.wait(10)
        if any(request.sample_id == "break" for request in requests):
            raise RuntimeError("out of memory")
        return [Response(request.sample_id, request.sample_id, "stop") for request in requests]


def test_what_gathers_during_a_batch_goes_together_in_the_next():
    engine = Gated()
    batcher = Batcher(lambda: engine, together=8)
    first = batcher.submit(request("first"))
    assert engine.started.wait(10)
    others = [batcher.submit(request(str(n))) for n in range(11)]
    engine.gate.set()
    assert [f.result(10).text for f in [first, *others]] == ["first", *map(str, range(11))]
    assert batcher.batches == [1, 8, 3]
    batcher.close()


def test_a_question_taken_back_is_not_asked():
    engine = Gated()
    batcher = Batcher(lambda: engine)
    first = batcher.submit(request("first"))
    assert engine.started.wait(10)
    back, next_one = batcher.submit(request("back")), batcher.submit(request("next"))
    assert back.cancel()
    engine.gate.set()
    assert next_one.result(10).text == "next"
    assert first.result(10).text == "first"
    assert batcher.batches == [1, 1]
    batcher.close()


def test_whoever_asked_has_the_answer_so_far_and_the_engine_learns_of_a_question_taken_back():
    engine = Gated()
    batcher = Batcher(lambda: engine)
    first = batcher.submit(request("first"))
    assert engine.started.wait(10)
    assert first.text == "f"
    assert engine.waited_for == [True]
    first.abandon()
    assert not first.on_token("fi")
    waiting = batcher.submit(request("waiting"))
    assert waiting.text == ""
    waiting.abandon()
    assert waiting.cancelled()
    engine.gate.set()
    batcher.close()


def test_a_full_queue_says_so():
    engine = Gated()
    batcher = Batcher(lambda: engine, waiting=2)
    batcher.submit(request("first"))
    assert engine.started.wait(10)
    batcher.submit(request("1"))
    batcher.submit(request("2"))
    with pytest.raises(BusyError, match="2 questions are waiting"):
        batcher.submit(request("3"))
    engine.gate.set()
    batcher.close()


def test_a_model_that_cannot_be_loaded_is_an_error_for_those_who_wait_and_those_who_come():
    gate = threading.Event()

    def load() -> StreamingEngine:
        assert gate.wait(10)
        raise UserError("no such folder")

    batcher = Batcher(load)
    assert batcher.loading
    early = batcher.submit(request("early"))
    gate.set()
    with pytest.raises(BusyError, match="no such folder"):
        early.result(10)
    assert batcher.wait_until_loaded(10)
    assert batcher.failure == "no such folder"
    with pytest.raises(BusyError, match="no such folder"):
        batcher.submit(request("late"))


def test_an_engine_that_breaks_ends_its_batch_and_answers_the_next():
    engine = Gated()
    engine.gate.set()
    batcher = Batcher(lambda: engine)
    with pytest.raises(RuntimeError, match="out of memory"):
        batcher.submit(request("break")).result(10)
    assert batcher.submit(request("after")).result(10).text == "after"
    batcher.close()


def test_closing_leaves_nobody_waiting():
    engine = Gated()
    batcher = Batcher(lambda: engine)
    batcher.submit(request("first"))
    assert engine.started.wait(10)
    waiting = batcher.submit(request("waiting"))
    batcher.close()
    assert waiting.cancelled()
    with pytest.raises(BusyError):
        batcher.submit(request("late"))
    engine.gate.set()


def test_users_who_were_answered_together_are_waited_for_and_one_alone_is_not():
    engine = Gated()
    batcher = Batcher(lambda: engine, together=2, gathering=60)
    alone = batcher.submit(request("alone"))
    assert engine.started.wait(10)
    pair = [batcher.submit(request("a")), batcher.submit(request("b"))]
    engine.gate.set()
    assert [alone.result(10).text, *(f.result(10).text for f in pair)] == ["alone", "a", "b"]
    first = batcher.submit(request("c"))
    second = batcher.submit(request("d"))
    assert [first.result(10).text, second.result(10).text] == ["c", "d"]
    assert batcher.batches == [1, 2, 2]
    batcher.close()
