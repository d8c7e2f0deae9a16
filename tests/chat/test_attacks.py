"""Attacks on the real page: refused with a sentence, nothing fetched, nothing of the machine shown."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chat.conftest import bomb, png

pytestmark = pytest.mark.slow


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """An address that nobody should fetch, and who did."""
    visitors: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            while True:
                try:
                    visitor, address = listening.accept()
                except OSError:
                    return
                visitors.append(str(address))
                visitor.close()

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/secret.png", visitors
        listening.shutdown(socket.SHUT_RDWR)


def post_picture(page_url: str, content: bytes, name: str = "x.png") -> httpx.Response:
    return httpx.post(f"{page_url}/pictures", content=content, headers={"x-picture-name": name}, timeout=60)


def ids(page_url: str) -> list[int]:
    return [entry["id"] for entry in httpx.get(f"{page_url}/config", timeout=60).json()["dependencies"]]


def test_no_event_fetches_an_address_or_reads_a_file(page_url: str, trap: tuple[str, list[str]]):
    address, visitors = trap
    values = [
        {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}},
        {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": "file:///etc/passwd", "meta": {"_type": "gradio.FileData"}},
        address,
        "file:///etc/passwd",
    ]
    with httpx.Client(base_url=page_url, timeout=60) as client:
        for value in values:
            for number in ids(page_url):
                body = {"data": [None, value, value, value, 0.5], "fn_index": number, "session_hash": "attack1"}
                reply = client.post("/gradio_api/queue/join", json=body)
                assert "root:" not in reply.text
                if isinstance(value, dict):
                    assert (reply.status_code, reply.text) == (
                        400,
                        "Files and addresses are never opened; send a picture.",
                    )
        with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "attack1"}) as events:
            started, seen = time.monotonic(), ""
            for line in events.iter_lines():
                seen += line
                if "close_stream" in line or time.monotonic() - started > 5:
                    break
    assert "root:" not in seen
    assert visitors == []


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://127.0.0.1:9/", "/assets/%2e%2e/%2e%2e/%2e%2e/gradio.py",
     "/static/..%2f..%2f__init__.py", "/gradio_api/file=pyproject.toml", "/gradio_api/upload"],
)  # fmt: skip
def test_no_file_of_the_machine_is_served(page_url: str, path: str):
    reply = httpx.get(page_url + path, timeout=60)
    assert reply.status_code == 404
    assert reply.text == "There is nothing here."


@pytest.mark.parametrize(
    ("content", "name", "status", "words"),
    [
        (b"<svg onload='alert(1)'/>", "x.svg", 422, "not a PNG"),
        (b"http://127.0.0.1/x.png", "link.png", 422, "not a PNG"),
        (bomb(), "../../bomb.png", 422, "bomb.png: 10000 x 10000 pixels are more than"),
        (png(1, 1), "%2e%2e%2fdot.png", 422, "dot.png: 1 x 1 pixels"),
        (b"", "empty.png", 422, "empty.png: the file is empty"),
    ],
)
def test_an_upload_that_is_no_usable_picture_is_one_sentence(
    page_url: str, content: bytes, name: str, status: int, words: str
):
    reply = post_picture(page_url, content, name)
    assert reply.status_code == status
    assert words in reply.text
    assert "/" not in reply.text.partition(":")[0]
    assert "Traceback" not in reply.text


def test_fifty_megabytes_are_refused(page_url: str):
    try:
        reply = post_picture(page_url, bytes(50_000_000))
    except httpx.WriteError:  # the page has answered and closed before all was sent
        return
    assert reply.status_code == 413
    assert "at most 20 MB" in reply.text


def test_no_upload_stays_on_the_disk(page_url: str, page_folder: Path):
    marker = png(123, 321, "orange")
    assert "token" in json.loads(post_picture(page_url, marker).text)
    assert [path for path in page_folder.rglob("*") if path.is_file() and path.read_bytes() == marker] == []
