"""The page on which a person answers a queue of pictures with the keyboard alone; protected as the chat's page is.

Each answer is on the disk before the page goes on. What is asked, and where answers go: see desk.

    serve_desk(desk, 7861)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.resources import files
from typing import TypeVar
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emocaliber.chat.desk import Desk, Export, Given, Row
from emocaliber.chat.server import (
    EVENT_BYTES,
    LOOPBACK,
    REFUSALS,
    Protection,
    bind,
    palette_css,
    read_body,
    read_event,
)

FILES = {"review.html": "text/html", "page.css": "text/css", "review.css": "text/css", "review.js": "text/javascript"}
MOST_BYTES = 50_000_000
"""Of a file of answers that is sent back."""


Result = TypeVar("Result")


class ReviewRoutes:
    """What each address answers. One question at a time: two windows may be open on one queue."""

    def __init__(self, desk: Desk, stop: threading.Event) -> None:
        self._desk, self._stop, self._turn = desk, stop, threading.Lock()
        folder = files("emocaliber.chat") / "templates"
        self._files = {name: (folder / name).read_text(encoding="utf-8") for name in FILES}
        self._files["page.css"] = f"{palette_css()}\n{self._files['page.css']}"

    def routes(self, page: str = "/") -> list[Route]:
        """Every address; `page` is that of the page itself."""
        posts = (self.state, self.answer, self.picture, self.export, self.take, self.close)
        return [
            Route(page, self.file),
            *[Route(f"/{name}", self.file) for name in FILES if name != "review.html"],
            *[Route(f"/review/{each.__name__}", each, methods=["POST"]) for each in posts],
        ]

    async def file(self, request: Request) -> Response:
        """The page, its styles and its script."""
        name = request.url.path[1:]
        name = name if name in FILES else "review.html"
        return Response(self._files[name], media_type=FILES[name])

    async def state(self, request: Request) -> Response:
        """What is left to answer."""
        await read_body(request, EVENT_BYTES)
        return JSONResponse(await run_in_threadpool(self._alone, self._desk.state))

    async def answer(self, request: Request) -> Response:
        """Keep an answer."""
        given = await read_event(request, Given)
        return JSONResponse(await run_in_threadpool(self._alone, self._desk.answer, given))

    async def picture(self, request: Request) -> Response:
        """A row's picture."""
        wanted = await read_event(request, Row)
        return JSONResponse(await run_in_threadpool(self._desk.picture, wanted))

    async def export(self, request: Request) -> Response:
        """The questions that are left, as a file."""
        wanted = await read_event(request, Export)
        content = await run_in_threadpool(self._alone, self._desk.export, wanted)
        return Response(content, media_type="application/octet-stream")

    async def take(self, request: Request) -> Response:
        """Take the answers of a file."""
        content = await read_body(request, MOST_BYTES)
        name = unquote(request.headers.get("x-file-name", "")) or "the file"
        return JSONResponse({"words": await run_in_threadpool(self._alone, self._desk.take, content, name)})

    async def close(self, request: Request) -> Response:
        """Stop serving: the command goes on."""
        await read_body(request, EVENT_BYTES)
        self._stop.set()
        return JSONResponse({})

    def _alone(self, call: Callable[..., Result], *arguments: object) -> Result:
        with self._turn:
            return call(*arguments)


def build_application(desk: Desk, stop: threading.Event, hosts: frozenset[str] = LOOPBACK) -> Starlette:
    """The application; `stop` is set when the person closes the review."""
    return Starlette(
        routes=ReviewRoutes(desk, stop).routes(),
        middleware=[Middleware(Protection, hosts=hosts, password=None)],
        exception_handlers=REFUSALS,
    )


def serve_desk(desk: Desk, port: int) -> None:
    """Serve on this machine alone, until the person closes the review or Ctrl-C. Raises UserError where the port is
    taken."""
    listening, stop = bind("127.0.0.1", port), threading.Event()
    application = build_application(desk, stop)
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none", server_header=False,
                                           timeout_graceful_shutdown=3))  # fmt: skip

    def watch() -> None:
        stop.wait()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    print(f"The page: http://127.0.0.1:{listening.getsockname()[1]}  (close it there, or with Ctrl-C)", flush=True)
    server.run(sockets=[listening])
