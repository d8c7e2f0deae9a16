"""The server answers the page alone: few routes, small and quick requests, under its own name, with the password; and
forbids the browser everything that the page does not need."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from emocaliber.chat.gallery import Gallery, files_of
from emocaliber.chat.protection import EVENT_BYTES, LOOPBACK, check_password, is_loopback
from emocaliber.chat.server import address, bind, build_application
from emocaliber.chat.session import MOST_BYTES
from emocaliber.core.errors import UserError
from tests.chat.conftest import bomb, png
from tests.chat.test_controller import Scripted, controller_of
from tests.chat.test_session import BLUE, RED

CONTROLLER = controller_of(Scripted())
TEMPLATES = Path(__file__).parents[2] / "emocaliber" / "chat" / "templates"


def answer(
    path: str,
    body: bytes | list[bytes] = b"",
    *,
    method: str = "",
    headers: dict[str, str] | None = None,
    pause: float = 0.0,
    **settings: Any,
) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of a request; the body may come in parts, with pauses."""
    parts = body if isinstance(body, list) else [body]
    waiting = [{"type": "http.request", "body": p, "more_body": n + 1 < len(parts)} for n, p in enumerate(parts)]
    sent: list[Message] = []

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        await asyncio.sleep(pause)
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    all_headers = {"host": "localhost:7860"} | (headers or {})
    scope = {
        "type": "http",
        "method": method or ("POST" if body else "GET"),
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
    }
    application = build_application(settings.pop("controller", CONTROLLER), **settings)
    asyncio.run(asyncio.wait_for(application(scope, receive, send), 30))
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return sent[0]["status"], text, {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def event(path: str, **values: object) -> tuple[int, str]:
    return answer(path, json.dumps(values).encode())[:2]


def opened() -> str:
    session: str = json.loads(event("/open")[1])["session"]
    return session


def send_picture(content: bytes | list[bytes], name: str = "x.png", **more: Any) -> tuple[int, str]:
    headers = {"x-session": opened(), "x-picture-name": name} | more.pop("headers", {})
    return answer("/picture", content, headers=headers, **more)[:2]


def test_the_page_and_its_files_forbid_every_other_host_and_every_other_script():
    for path in ("/", "/page.css", "/page.js"):
        status, text, headers = answer(path)
        assert status == 200, path
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert not any(word in policy for word in ("http", "*", "unsafe"))
        assert headers["x-content-type-options"] == "nosniff"
        assert "http://" not in text
        assert "https://" not in text


def test_the_page_has_no_script_of_its_own_and_puts_no_text_in_as_html():
    page, script = ((TEMPLATES / name).read_text() for name in ("page.html", "page.js"))
    assert page.count("<script") == 1
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|\{\{", page)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert word not in script


@pytest.mark.parametrize(
    "path", ["/templates/page.html", "/page.css/../server.py", "/..%2f..%2fetc/passwd", "/etc/passwd", "/docs", "/.env",
             "/gallery", "/file=/etc/passwd", "//etc/passwd"],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"", b"{}"])
def test_every_other_route_is_not_there(path: str, body: bytes):
    assert answer(path, body)[:2] == (404, "There is nothing here.")


@pytest.mark.parametrize(
    ("path", "method"), [("/", "POST"), ("/ask", "GET"), ("/picture", "PUT"), ("/clear", "DELETE")]
)
def test_a_route_takes_its_own_method_alone(path: str, method: str):
    assert answer(path, method=method)[:2] == (405, "There is nothing here.")


def test_a_picture_is_taken_and_asked_about_and_forgotten():
    session = opened()
    headers = {"x-session": session, "x-picture-name": "f%C3%A4ce.png"}
    status, text, _ = answer("/picture", png(20, 20), headers=headers)
    assert status == 200
    [picture] = json.loads(text)["pictures"]
    assert picture["name"] == "f\u00e4ce.png"
    status, lines = event("/ask", session=session, labels="joy, awe", question="", threshold=0.7)
    assert status == 200
    answers = [row["answer"] for row in map(json.loads, lines.splitlines()) if "answer" in row]
    assert [(row["picture"], row["label"]) for row in answers] == [("f\u00e4ce.png", "joy")]
    judged = json.loads(event("/judge", session=session, labels="joy, awe", threshold=1.0)[1])
    assert [row["trusted"] for row in judged["answers"]] == [False]
    assert event("/clear", session=session)[0] == 200
    assert "Choose a picture first." in event("/ask", session=session, labels="a, b", question="", threshold=0.7)[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "x.png: the file is empty"),
        (b"<svg onload='alert(1)'/>", "not a PNG"),
        (b"http://127.0.0.1/x.png", "not a PNG"),
        (bomb(), "x.png: 10000 x 10000 pixels are more than"),
        (png(1, 1), "1 x 1 pixels"),
    ],
)
def test_what_is_no_usable_picture_is_refused_in_a_sentence(content: bytes, words: str):
    for name in ("../../x.png", "%2e%2e%2fx.png"):
        status, text = send_picture(content, name, method="POST")
        assert status == 422
        assert words in text
        assert "/" not in text.partition(":")[0]


def test_a_picture_for_a_session_that_nobody_opened_is_refused():
    status, text = send_picture(png(20, 20), headers={"x-session": "guess"})
    assert (status, text) == (422, "This session has ended: reload the page.")


@pytest.mark.parametrize(
    "body",
    [
        b"not json", b"[" * 10_000, b"\xff", b"{}", b"[]", b"null", b'{"session": 3}', b'{"session": "", "path": ""}',
        b'{"session": "x", "labels": {"path": "/etc/passwd"}, "question": "", "threshold": 0.7}',
        b'{"session": "x", "labels": "a, b", "question": "", "threshold": 7}',
        b'{"session": "x", "labels": "a, b", "question": "", "threshold": 0.7, "url": "http://127.0.0.1/"}',
    ],
)  # fmt: skip
def test_what_the_page_never_sends_is_refused(body: bytes):
    status, text, _ = answer("/ask", body)
    assert status == 400
    assert text.startswith("This is not a request of the page")


def test_addresses_in_typed_text_are_text():
    session = opened()
    answer("/picture", png(20, 20), headers={"x-session": session})
    typed = "look at http://127.0.0.1/ and ../../etc/passwd"
    assert typed in event("/ask", session=session, labels="joy, awe", question=typed, threshold=0.7)[1]


def test_a_large_body_is_refused_by_its_declared_length_and_by_what_comes():
    assert send_picture(b"x", headers={"content-length": "50000000"})[0] == 413
    status, text = send_picture([b"x" * (MOST_BYTES // 2)] * 3)
    assert status == 413
    assert "at most 20 MB" in text
    assert answer("/ask", b"x" * (EVENT_BYTES + 1))[0] == 413


@pytest.mark.parametrize("length", ["-1", "x", "1e3", ""])
def test_a_senseless_length_is_refused(length: str):
    assert send_picture(b"x", headers={"content-length": length})[0] == 413


def test_a_slow_body_is_ended():
    status, text, headers = answer("/ask", [b"x"] * 100, pause=0.05, seconds=0.2)
    assert status == 408
    assert "longer than 0.2 seconds" in text
    assert headers["connection"] == "close"


def test_another_page_and_another_name_are_refused():
    assert answer("/", headers={"origin": "http://evil.example"})[0] == 403
    assert answer("/", headers={"origin": "null"})[0] == 403
    assert answer("/", headers={"origin": "http://localhost:7860"})[0] == 200
    assert answer("/", headers={"host": "evil.example"})[0] == 421
    assert answer("/", headers={"host": "evil.example"}, hosts=frozenset())[0] == 200
    assert answer("/", headers={"host": "[::1]:7860"}, hosts=LOOPBACK)[0] == 200


def test_with_a_password_nothing_passes_without_it():
    def basic(word: str) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(word.encode()).decode()}

    for path in ("/", "/page.js", "/model", "/picture", "/ask", "/nowhere"):
        status, text, headers = answer(path, password="ann:word")
        assert (status, text) == (401, "A user name and a password are required.")
        assert "www-authenticate" in headers
        assert "content-security-policy" in headers
    assert answer("/", headers=basic("ann:wrong"), password="ann:word")[0] == 401
    assert answer("/", headers=basic("ann:word"), password="ann:word")[0] == 200


def test_a_websocket_is_closed():
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(build_application(CONTROLLER)({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert sent[0]["type"] == "websocket.close"


def test_hanging_up_takes_the_questions_back():
    engine = Scripted()
    engine.gate.clear()
    controller = controller_of(engine, together=1)
    name = controller.open()["session"]
    session = controller.sessions.find(name)
    session.add_picture(RED)
    session.add_picture(BLUE)
    body = json.dumps({"session": name, "labels": "joy, awe", "question": "", "threshold": 0.7}).encode()
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        while controller.batcher.waiting != 1:
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        pass

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/ask",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    asyncio.run(asyncio.wait_for(build_application(controller)(scope, receive, send), 30))
    engine.gate.set()
    controller.batcher.submit(session.requests(session.begin(("a", "b"), ""), controller.choice)[0]).result(10)
    assert engine.answered == 2


def test_the_gallery_answers_under_its_own_addresses(album: Path):
    controller = replace(controller_of(Scripted()), gallery=Gallery(album, files_of(album)))
    setup = json.loads(answer("/open", b"{}", controller=controller)[1])
    assert setup["gallery"] == {"name": album.name, "pictures": 20, "reviewed": False}
    session = {"session": setup["session"]}
    lines = answer("/gallery/ask_gallery", json.dumps(session).encode(), controller=controller)[1].splitlines()
    assert json.loads(lines[-1])["status"] == "20 of 20 answered."
    view = session | {"label": "every label", "untrusted": False, "threshold": 0.7, "export": "csv"}
    status, text, headers = answer("/gallery/view", json.dumps(view).encode(), controller=controller)
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert len(text.splitlines()) == 21
    assert "no gallery here" in event("/gallery/ask_gallery", session=opened())[1]


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("example", False)]
)
def test_what_is_loopback(host: str, own: bool):
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    ("host", "password"), [("0.0.0.0", None), ("::", None), ("127.0.0.1", "ann"), ("127.0.0.1", ":x"), ("::1", "ann:")]
)
def test_without_a_name_and_a_password_the_page_is_not_opened(host: str, password: str | None):
    with pytest.raises(UserError, match="--auth"):
        check_password(host, password)


@pytest.mark.parametrize(("host", "password"), [("127.0.0.1", None), ("0.0.0.0", "ann:correct:horse")])
def test_loopback_needs_no_password_and_the_network_is_served_with_one(host: str, password: str | None):
    check_password(host, password)


def test_a_port_that_is_taken_is_a_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}: .* choose another port with --port"):
            bind("127.0.0.1", port)
    with pytest.raises(UserError, match="choose another port with --port"):
        bind("127.0.0.1", 123_456)


@pytest.mark.parametrize(("host", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_printed_address_is_one_that_a_browser_takes(host: str, written: str):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert address(host, listening) == f"http://{written}:{listening.getsockname()[1]}"


def test_the_command_refuses_to_open_the_page_to_others_without_a_password():
    command = [sys.executable, "-m", "emocaliber", "chat", "--host", "0.0.0.0", "--model", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "add --auth NAME:PASSWORD" in done.stderr
