"""The review page: a person labels a queue of pictures, with the keyboard alone. Protected as the chat page is.

Each answer is on the disk before the page shows the next picture. The queue and the answers are a `Desk` (see desk).

    serve_desk(desk, 7861)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emocaliber.chat.desk import Desk, Export, Given, Row
from emocaliber.chat.protection import ERROR_RESPONSES, EVENT_BYTES, LOOPBACK, Protection, read_body, read_event
from emocaliber.chat.server import address, bind, read_templates, serve

FILES = {"review.html": "text/html", "page.css": "text/css", "review.css": "text/css", "review.js": "text/javascript"}
MOST_BYTES = 50_000_000
"""Largest file of answers that is accepted."""

Result = TypeVar("Result")


class ReviewRoutes:
    """The handler of each address. Calls of the desk are serialised: two windows may be open on one queue."""

    def __init__(self, desk: Desk, stop: threading.Event) -> None:
        self._desk, self._stop, self._lock = desk, stop, threading.Lock()
        self._files = read_templates(FILES)

    def routes(self, page: str = "/") -> list[Route]:
        """All routes; `page` is the address of the page itself."""
        posts = (self.state, self.answer, self.picture, self.export, self.take, self.close)
        return [
            Route(page, self.file),
            *[Route(f"/{name}", self.file) for name in FILES if name != "review.html"],
            *[Route(f"/review/{each.__name__}", each, methods=["POST"]) for each in posts],
        ]

    async def file(self, request: Request) -> Response:
        """The page, a style sheet or its script."""
        name = request.url.path[1:]
        name = name if name in FILES else "review.html"
        return Response(self._files[name], media_type=FILES[name])

    async def state(self, request: Request) -> Response:
        """What is left to answer."""
        await read_body(request, EVENT_BYTES)
        return JSONResponse(await run_in_threadpool(self._locked, self._desk.state))

    async def answer(self, request: Request) -> Response:
        """Keep an answer."""
        given = await read_event(request, Given)
        return JSONResponse(await run_in_threadpool(self._locked, self._desk.answer, given))

    async def picture(self, request: Request) -> Response:
        """A row's picture."""
        wanted = await read_event(request, Row)
        return JSONResponse(await run_in_threadpool(self._desk.picture, wanted))

    async def export(self, request: Request) -> Response:
        """The questions that are left, as a file."""
        wanted = await read_event(request, Export)
        content = await run_in_threadpool(self._locked, self._desk.export, wanted)
        return Response(content, media_type="application/octet-stream")

    async def take(self, request: Request) -> Response:
        """Read answers from a file that was sent back."""
        content = await read_body(request, MOST_BYTES)
        name = unquote(request.headers.get("x-file-name", "")) or "the file"
        return JSONResponse({"words": await run_in_threadpool(self._locked, self._desk.take, content, name)})

    async def close(self, request: Request) -> Response:
        """Stop serving; the command then goes on."""
        await read_body(request, EVENT_BYTES)
        self._stop.set()
        return JSONResponse({})

    def _locked(self, call: Callable[..., Result], *arguments: object) -> Result:
        with self._lock:
            return call(*arguments)


def build_application(desk: Desk, stop: threading.Event, hosts: frozenset[str] = LOOPBACK) -> Starlette:
    """The application; it sets `stop` when the person closes the review."""
    return Starlette(
        routes=ReviewRoutes(desk, stop).routes(),
        middleware=[Middleware(Protection, hosts=hosts, password=None)],
        exception_handlers=ERROR_RESPONSES,
    )


def serve_desk(desk: Desk, port: int) -> None:
    """Serve on this machine alone, until the person closes the review or Ctrl-C. Raises UserError if the port is
    taken."""
    host, stop = "127.0.0.1", threading.Event()
    listening = bind(host, port)
    print(f"The page: {address(host, listening)}  (close it there, or with Ctrl-C)", flush=True)
    serve(build_application(desk, stop), listening, stop)
