"""The guard passes on what the page needs and refuses the rest with a sentence."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from emocaliber.chat.guard import MOST_BYTES, UPLOAD, Guard, Message, Receive, Scope, Send

LIMIT = 1_000_000


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind the guard: says how many bytes it was given."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"got {len(body)}".encode()})


def guard(**settings: Any) -> Guard:
    return Guard(echo, **({"hosts": frozenset({"localhost"}), "password": None, "upload_bytes": LIMIT} | settings))


def answer(
    path: str,
    body: bytes | list[bytes] = b"",
    *,
    method: str = "",
    headers: dict[str, str] | None = None,
    pause: float = 0.0,
    **settings: Any,
) -> tuple[int, str, dict[bytes, bytes]]:
    """Status, text and headers of one request; the body may come in parts, with pauses."""
    parts = body if isinstance(body, list) else [body]
    waiting = [{"type": "http.request", "body": p, "more_body": n + 1 < len(parts)} for n, p in enumerate(parts)]
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(pause)
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    given = {"host": "localhost:7860"} | (headers or {})
    scope = {
        "type": "http",
        "method": method or ("POST" if body else "GET"),
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(guard(**settings)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"].decode(), dict(sent[0]["headers"])


def test_the_page_and_its_files_pass_with_a_policy_that_names_no_other_host():
    for path in ("/", "/assets/index-1.js", "/theme.css", "/gradio_api/queue/data", "/gradio_api/heartbeat/abc-1"):
        status, _, headers = answer(path)
        assert status == 200, path
        policy = headers[b"content-security-policy"].decode()
        assert "default-src 'self'" in policy
        assert "http" not in policy
        assert "*" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=http://127.0.0.1:9/",
        "/file=/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:9/",
        "/gradio_api/upload",
        "/gradio_api/stream/x",
        "/gradio_api/component_server",
        "/gradio_api/call/ask",
        "/gradio_api/run/predict",
        "/gradio_api/mcp/sse",
        "/gradio_api/deep_link",
        "/assets/../../../etc/passwd",
        "/static/..%2f..%2fetc/passwd",
        "/monitoring/x",
        "/docs",
        "/.env",
        "/login",
    ],
)
def test_every_other_route_is_not_there(path: str):
    status, text, _ = answer(path, b"{}" if "upload" in path else b"")
    assert (status, text) == (404, "There is nothing here.")


@pytest.mark.parametrize(
    "value",
    [
        {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": "http://127.0.0.1:9/x.png", "url": None},
        [[{"url": "file:///etc/passwd"}]],
        {"deep": {"er": [{"meta": {}}]}},
    ],
)
def test_an_event_that_names_a_file_or_an_address_is_refused(value: object):
    body = json.dumps({"data": [value], "fn_index": 0, "session_hash": "x"}).encode()
    status, text, _ = answer("/gradio_api/queue/join", body)
    assert (status, text) == (400, "Files and addresses are never opened; send a picture.")


def test_addresses_in_typed_text_are_text():
    body = json.dumps({"data": ["look at http://127.0.0.1/ and ../../etc/passwd"], "fn_index": 0}).encode()
    assert answer("/gradio_api/queue/join", body)[0] == 200


@pytest.mark.parametrize("body", [b"not json", b"[" * 100_000, b"\xff"])
def test_an_event_that_is_no_json_is_refused(body: bytes):
    assert answer("/gradio_api/queue/join", body)[0] == 400


def test_a_large_upload_is_refused_by_its_declared_length_and_by_what_comes():
    assert answer(UPLOAD, b"x", headers={"content-length": "50000000"})[0] == 413
    status, text, _ = answer(UPLOAD, [b"x" * 400_000] * 3)
    assert status == 413
    assert "1 MB" in text
    assert answer(UPLOAD, [b"x" * 400_000] * 2)[1] == "got 800000"


def test_a_large_event_is_refused():
    assert answer("/gradio_api/queue/join", b'"' + b"x" * MOST_BYTES + b'"')[0] == 413


@pytest.mark.parametrize("length", ["-1", "x", "1e3", ""])
def test_a_senseless_length_is_refused(length: str):
    assert answer(UPLOAD, b"x", headers={"content-length": length})[0] == 413


def test_a_slow_upload_is_ended():
    status, text, headers = answer(UPLOAD, [b"x"] * 100, pause=0.05, seconds=0.2)
    assert status == 408
    assert "longer than 0.2 seconds" in text
    assert headers[b"connection"] == b"close"


def test_another_page_and_another_name_are_refused():
    assert answer("/", headers={"origin": "http://evil.example"})[0] == 403
    assert answer("/", headers={"origin": "null"})[0] == 403
    assert answer("/", headers={"origin": "http://localhost:7860"})[0] == 200
    assert answer("/", headers={"host": "evil.example"})[0] == 421
    assert answer("/", headers={"host": "evil.example"}, hosts=frozenset())[0] == 200


def test_with_a_password_nothing_passes_without_it():
    def basic(word: str) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(word.encode()).decode()}

    for path in ("/", UPLOAD, "/gradio_api/queue/data", "/assets/x.js", "/nowhere"):
        status, _, headers = answer(path, password="ann:word")
        assert status == 401
        assert b"www-authenticate" in headers
    assert answer("/", headers=basic("ann:wrong"), password="ann:word")[0] == 401
    assert answer("/", headers=basic("ann:word"), password="ann:word")[0] == 200


def test_a_websocket_is_closed():
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(guard()({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert sent[0]["type"] == "websocket.close"
