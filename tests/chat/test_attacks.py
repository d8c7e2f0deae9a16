"""Attacks on the real page: refused with a sentence, nothing fetched, nothing of the machine shown."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chat.conftest import png

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


def test_no_event_fetches_an_address_or_reads_a_file(page_url: str, trap: tuple[str, list[str]]):
    address, visitors = trap
    with httpx.Client(base_url=page_url, timeout=60) as client:
        session = client.post("/open", content="{}").json()["session"]
        for value in (address, "file:///etc/passwd", "/etc/passwd", {"path": "/etc/passwd"}, {"url": address}):
            picture = client.post(
                "/picture", content=str(value), headers={"x-session": session, "x-picture-name": str(value)}
            )
            assert picture.status_code == 422
            assert "not a PNG" in picture.text
            for path in ("ask", "judge", "clear", "gallery/ask_gallery", "gallery/view"):
                event = {"session": session, "labels": value, "question": value, "threshold": 0.5}
                reply = client.post(f"/{path}", json=event)
                assert "root:" not in reply.text
                assert client.post(f"/{path}", json=event | {"session": value}).status_code in (200, 400, 422)
    assert visitors == []


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/%2e%2e/%2e%2e/server.py", "/..%2f..%2f__init__.py", "/pyproject.toml", "/page.js%00.png"]
)
def test_no_file_of_the_machine_is_served(page_url: str, path: str):
    reply = httpx.get(page_url + path, timeout=60)
    assert (reply.status_code, reply.text) == (404, "There is nothing here.")


def test_fifty_megabytes_are_refused(page_url: str):
    try:
        reply = post_picture(page_url, bytes(50_000_000))
    except httpx.WriteError:  # the page has answered and closed before all was sent
        return
    assert reply.status_code == 413
    assert "at most 20 MB" in reply.text


def test_no_upload_stays_on_the_disk(page_url: str, page_folder: Path):
    marker = png(123, 321, "orange")
    assert post_picture(page_url, marker).status_code == 200
    assert [path for path in page_folder.rglob("*") if path.is_file() and path.read_bytes() == marker] == []


def post_picture(page_url: str, content: bytes) -> httpx.Response:
    session = httpx.post(f"{page_url}/open", content="{}", timeout=60).json()["session"]
    return httpx.post(f"{page_url}/picture", content=content, headers={"x-session": session}, timeout=60)
