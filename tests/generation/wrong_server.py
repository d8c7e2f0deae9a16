"""An OpenAI-compatible server of this machine that answers rightly, or in one of thirty-odd wrong ways, at random."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

ANSWER = "<answer>happy</answer><confidence>0.85</confidence>"
USAGE = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}


def completion(message: Any, finish: Any = "stop", usage: Any = USAGE) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


GOOD = completion(assistant(ANSWER))
READABLE: dict[str, Any] = {
    "good": GOOD,
    "content in parts": completion(assistant([{"type": "text", "text": ANSWER}])),
    "thinking in parts": completion(
        assistant(
            [{"type": "thinking", "thinking": [{"type": "text", "text": "sad?"}]}, {"type": "text", "text": ANSWER}]
        )
    ),
    "text parts": completion(assistant([ANSWER])),
    "usage null": completion(assistant(ANSWER), usage=None),
    "usage missing": {"choices": GOOD["choices"]},
    "usage of another shape": completion(assistant(ANSWER), usage={"completion_tokens": "nine"}),
    "finish eos_token": completion(assistant(ANSWER), "eos_token"),
    "finish null": completion(assistant(ANSWER), None),
    "finish unheard of": completion(assistant(ANSWER), "COMPLETE"),
    "reasoning apart": completion(assistant(ANSWER, reasoning_content="<answer>sad</answer>, or not?")),
    "reasoning by another name": completion(assistant(ANSWER, reasoning="Emotion: sad. Confidence: 1.0")),
    "logprobs of another shape": {**GOOD, "choices": [{**GOOD["choices"][0], "logprobs": [1]}]},
    "a completion's text": {"choices": [{"text": ANSWER, "finish_reason": "stop"}], "usage": USAGE},
}
"""Replies that hold the answer."""

UNREADABLE: dict[str, Any] = {
    "content null": completion(assistant(None)),
    "content missing": completion({"role": "assistant"}),
    "cut off while it reasons": completion(assistant(None, reasoning_content="the smile is wide"), "length"),
    "a refusal": completion(assistant(None, refusal="I cannot judge faces")),
    "a tool call": completion(
        assistant(None, tool_calls=[{"function": {"name": "answer", "arguments": "{}"}}]), "tool_calls"
    ),
    "a lone surrogate": completion(assistant("\ud800")),
}
"""Replies in which the model answers nothing."""

RATE = {"message": "Provider returned error: too many requests", "code": 429}
ERRORS: dict[str, Any] = {
    "choices null": {"id": None, "choices": None, "usage": None, "error": RATE},
    "choices missing": {"error": {"message": "Provider returned error", "code": 502}},
    "choices empty": {"choices": [], "usage": USAGE},
    "choices of null": {"choices": [None]},
    "choices a text": {"choices": "none"},
    "message null": completion(None),
    "message a text": completion("happy"),
    "error a text": {"error": "out of memory"},
    "finish error": completion(assistant(""), "error"),
    "a list": [GOOD],
    "a text": "ok",
    "null": None,
    "a number": 7,
    "content filter": completion(assistant(""), "content_filter"),
}
"""Replies of status 200 that hold none."""

STATUSES = {429: RATE, 500: {"detail": "Internal error"}, 502: "Bad gateway", 503: {"error": "overloaded"}, 400: RATE}
RAW = {
    "HTML": b"<html>gateway</html>",
    "half of JSON": b'{"choices": [{"mess',
    "nothing": b"",
    "no UTF-8": b"\xff\xfe{",
}
KINDS = [*READABLE, *UNREADABLE, *ERRORS, *map(str, STATUSES), *RAW, "breaks off", "hangs up"]


class WrongServer:
    """`kind` names how the next request is answered, unless `answers` has a text for its question."""

    def __init__(
        self, kind: Callable[[], str], key: str = "", answers: Callable[[str], str | None] = lambda question: None
    ) -> None:
        self.kind, self.key, self.answers = kind, key, answers
        self.models: object = [{"id": "tuned"}]
        self.kinds: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: set[str] = set()
        self.times: list[float] = []
        self.lock = Lock()


@contextmanager
def serving(server: WrongServer) -> Iterator[str]:
    """The server's address, while it runs."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

        def reply(self, status: int, content: Any, **headers: str) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        def allowed(self) -> bool:
            authorization = self.headers.get("authorization", "")
            server.authorizations.add(authorization)
            if server.key and authorization != f"Bearer {server.key}":
                self.reply(401, {"error": {"message": f"Incorrect API key provided: {authorization[7:]}"}})
                return False
            return True

        def do_GET(self) -> None:
            if self.allowed():
                is_list = self.path == "/v1/models"
                listed = {"data": server.models} if is_list else {"detail": "Not Found"}
                self.reply(200 if is_list else 404, listed)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                kind = server.kind()
                server.kinds[kind] += 1
                server.bodies.append(body)
                server.times.append(time.monotonic())
            if not self.allowed():
                return
            question = str(body["messages"][0]["content"][-1].get("text", ""))
            if (answer := server.answers(question)) is not None:
                self.reply(200, completion(assistant(answer)))
            elif kind == "old name" and "max_tokens" in body:
                words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
                self.reply(400, {"error": {"message": words, "param": "max_tokens"}})
            elif kind == "wait":
                self.reply(429, {"error": RATE}, retry_after="1")
            elif kind in RAW:
                self.reply(200, RAW[kind])
            elif kind in ("breaks off", "hangs up"):
                if kind == "breaks off":
                    self.send_response(200)
                    self.send_header("content-length", "5000")
                    self.end_headers()
                    self.wfile.write(b'{"choices"')
                self.close_connection = True
            elif kind.isdigit():
                self.reply(int(kind), {"error": STATUSES[int(kind)]})
            else:
                self.reply(200, {**READABLE, **UNREADABLE, **ERRORS, "old name": GOOD}[kind])

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()


def at_random(seed: int, share_of_good: float) -> Callable[[], str]:
    """Good answers for the share, each of the other kinds as often as any."""
    chance = random.Random(seed)
    return lambda: "good" if chance.random() < share_of_good else chance.choice(KINDS)
