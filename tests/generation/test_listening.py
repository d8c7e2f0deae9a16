"""An engine that is listened to answers as it does otherwise, tells what it writes, and stops where nobody waits."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import httpx
import pytest
from PIL import Image

from emocaliber.core.prompting import load_template
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.generation import decoding
from emocaliber.generation.engine import Request, StreamingEngine
from emocaliber.generation.server_replies import ReplyError, read_stream
from emocaliber.generation.transformers_engine import TransformersEngine

PROMPT = load_template("label").render(KAOMOJI_10.labels)
LENGTH = 12


@pytest.fixture(autouse=True)
def every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "INTERVAL", 0.0)


@pytest.fixture(scope="module")
def engine(random_model: Path) -> TransformersEngine:
    return TransformersEngine(random_model, batch_size=3, max_new_tokens=LENGTH)


@pytest.fixture(scope="module")
def requests(pictures: list[Image.Image]) -> list[Request]:
    return [Request(str(n), picture, PROMPT) for n, picture in enumerate(pictures)]


def check_stream(engine: StreamingEngine, requests: list[Request]) -> None:
    """What any engine promises to those who listen."""
    streamed: defaultdict[str, list[str]] = defaultdict(list)

    def on_token(request: Request, text: str) -> bool:
        streamed[request.sample_id].append(text)
        return True

    responses = engine.stream(requests, on_token)
    assert responses == engine.generate(requests)
    for response in responses:
        texts = streamed[response.sample_id]
        assert len(texts) > 1
        assert all(later.startswith(sooner) for sooner, later in zip(texts, [*texts[1:], response.text], strict=True))


def check_stop(engine: StreamingEngine, requests: list[Request]) -> None:
    """One answer that nobody waits for ends early, the others do not."""
    complete = engine.generate(requests)
    streamed: list[str] = []

    def on_token(request: Request, text: str) -> bool:
        streamed.append(request.sample_id)
        return request.sample_id != complete[0].sample_id

    stopped = engine.stream(requests, on_token)
    assert stopped[1:] == complete[1:]
    assert stopped[0].tokens < complete[0].tokens
    assert streamed.count(complete[0].sample_id) == 1


def test_transformers_tells_what_it_writes_and_writes_the_same(
    engine: TransformersEngine, requests: list[Request]
) -> None:
    check_stream(engine, requests)


def test_transformers_stops_where_nobody_waits(engine: TransformersEngine, requests: list[Request]) -> None:
    check_stop(engine, requests[:3])


EVENTS = (
    'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    'data: {"choices":[{"index":0,"delta":{"content":"<answer>"},"finish_reason":null,"logprobs":null}]}\n\n'
    ": a comment that keeps the connection alive\n\n"
    'data: {"choices":[{"index":0,"delta":{"content":"joy"},"logprobs":{"content":[{"token":"token_id:7"}]}}]}\n\n'
    'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    'data: {"choices":[],"usage":{"completion_tokens":3}}\n\n'
    "data: [DONE]\n\n"
)


def reply(content: str, kind: str = "text/event-stream; charset=utf-8") -> httpx.Response:
    return httpx.Response(200, headers={"content-type": kind}, content=content.encode())


def test_the_parts_of_a_streamed_reply_make_the_reply_in_one_piece():
    streamed: list[str] = []
    read = read_stream(reply(EVENTS), lambda text: streamed.append(text) is None)
    assert streamed == ["<answer>", "<answer>joy"]
    assert (read.text, read.finish_reason, read.tokens) == ("<answer>joy", "stop", 3)
    assert read.steps == ({"token": "token_id:7"},)


def test_a_streamed_reply_that_nobody_waits_for_is_cut_off():
    read = read_stream(reply(EVENTS), lambda text: False)
    assert (read.text, read.finish_reason) == ("<answer>", "length")


def test_a_server_that_does_not_stream_is_read_whole():
    complete = '{"choices":[{"finish_reason":"stop","message":{"content":"joy"}}],"usage":{"completion_tokens":1}}'
    assert read_stream(reply(complete, "application/json"), lambda text: True).text == "joy"


@pytest.mark.parametrize("bad", ['data: {"error": {"message": "out of memory"}}\n\n', "data: {\n\n"])
def test_an_error_within_a_stream_is_an_error(bad: str):
    with pytest.raises(ReplyError, match=r"out of memory|is not JSON"):
        read_stream(reply(EVENTS[:200].rsplit("data", 1)[0] + bad), lambda text: True)


def test_a_stream_that_ends_before_the_answer_does_is_an_error():
    with pytest.raises(ReplyError, match="broke off"):
        read_stream(reply(EVENTS.partition('data: {"choices":[{"index":0,"delta":{},')[0]), lambda text: True)


def test_reasoning_that_streams_apart_is_told_from_the_answer():
    thought = 'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n'
    read = read_stream(reply(thought + EVENTS), lambda text: True)
    assert (read.reasoning, read.text, read.written) == ("hm", "<answer>joy", "<think>hm</think><answer>joy")
