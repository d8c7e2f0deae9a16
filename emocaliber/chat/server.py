"""The server: the chat page and the addresses that it calls, on one port.

Binds to loopback by default. What every request must satisfy, and the password that serving other machines requires,
are in protection. No address takes the name of a file, or a URL.

    serve(build_application(controller), bind("127.0.0.1", 7860))
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Iterable, Sequence
from importlib.resources import files
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from emocaliber.chat.controller import Ask, ChatController, Event, InSession, Judge, View, sentence
from emocaliber.chat.protection import (
    BODY_SECONDS,
    ERROR_RESPONSES,
    EVENT_BYTES,
    LOOPBACK,
    Protection,
    read_body,
    read_event,
)
from emocaliber.chat.session import MOST_BYTES, read_picture
from emocaliber.core.errors import UserError
from emocaliber.reporting.svg import css_variables

DECODED_AT_ONCE = 2
PAGE_FILES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}


def bind(host: str, port: int) -> socket.socket:
    """The listening socket. Raises UserError if the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise UserError(f"cannot listen on {host}:{port}: {reason}; choose another port with --port") from None


def address(host: str, listening: socket.socket) -> str:
    """The URL of what `listening` serves, as a browser takes it: an IPv6 address stands in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def serve(application: ASGIApp, listening: socket.socket, stop: threading.Event | None = None) -> None:
    """Serve until interrupted, or until `stop` is set."""
    config = uvicorn.Config(
        application, log_level="warning", ws="none", server_header=False, timeout_graceful_shutdown=3
    )
    server = uvicorn.Server(config)

    def watch(stop: threading.Event) -> None:
        stop.wait()
        server.should_exit = True

    if stop is not None:
        threading.Thread(target=watch, args=(stop,), daemon=True).start()
    server.run(sockets=[listening])


def build_application(
    controller: ChatController,
    *,
    hosts: frozenset[str] = LOOPBACK,
    password: str | None = None,
    seconds: float = BODY_SECONDS,
    more: Sequence[Route] = (),
    framed_by: str = "",
) -> Starlette:
    """The application.

    `hosts` are the host names that a request may use; empty allows any. `password` is "name:password", or None.
    `seconds` limits how long a client may take to send a request's body. `more` are the routes of a second page.
    `framed_by` is the site that may embed the page in a frame, behind a proxy of its own.
    """
    routes = _Routes(controller, seconds)
    return Starlette(
        routes=[
            Route("/", routes.page),
            *[Route(f"/{name}", routes.page) for name in ("page.css", "page.js")],
            Route("/model", routes.model),
            *[
                Route(f"/{action.__name__}", action, methods=["POST"])
                for action in (routes.open, routes.picture, routes.ask, routes.judge, routes.clear)
            ],
            *[
                Route(f"/gallery/{action.__name__}", action, methods=["POST"])
                for action in (routes.ask_gallery, routes.view)
            ],
            *more,
        ],
        middleware=[Middleware(Protection, hosts=hosts, password=password, framed_by=framed_by)],
        exception_handlers=ERROR_RESPONSES,
    )


class _Routes:
    """The handler of each address."""

    def __init__(self, controller: ChatController, seconds: float) -> None:
        self._controller, self._seconds = controller, seconds
        self._decoding = asyncio.Semaphore(DECODED_AT_ONCE)
        self._files = read_templates(PAGE_FILES)

    async def page(self, request: Request) -> Response:
        """The page, its style sheet or its script."""
        name = request.url.path[1:] or "page.html"
        return Response(self._files[name], media_type=PAGE_FILES[name])

    async def model(self, _: Request) -> Response:
        """Whether the model is loaded."""
        return JSONResponse(self._controller.model_status())

    async def open(self, request: Request) -> Response:
        """Open a new session."""
        await read_body(request, EVENT_BYTES, self._seconds)
        return JSONResponse(self._controller.open())

    async def picture(self, request: Request) -> Response:
        """Add the picture that the body holds to a session."""
        name, session = (unquote(request.headers.get(key, "")) for key in ("x-picture-name", "x-session"))
        self._controller.sessions.find(session)
        encoded = await read_body(request, MOST_BYTES, self._seconds)
        async with self._decoding:
            picture = await run_in_threadpool(read_picture, encoded, name, self._controller.choice.max_pixels)
        return JSONResponse(self._controller.add_picture(session, picture))

    async def ask(self, request: Request) -> Response:
        """Ask about a session's pictures; streams events."""
        return _stream(self._controller.ask(await read_event(request, Ask, self._seconds)))

    async def judge(self, request: Request) -> Response:
        """The answers, marked trusted or not at another threshold."""
        return JSONResponse(self._controller.judge(await read_event(request, Judge, self._seconds)))

    async def clear(self, request: Request) -> Response:
        """Forget a session's pictures and answers."""
        return JSONResponse(self._controller.clear(await read_event(request, InSession, self._seconds)))

    async def ask_gallery(self, request: Request) -> Response:
        """Ask about all pictures of the gallery; streams events."""
        return _stream(self._controller.ask_gallery(await read_event(request, InSession, self._seconds)))

    async def view(self, request: Request) -> Response:
        """The gallery's answers that pass the filter, for the page or as a file to download."""
        event = await read_event(request, View, self._seconds)
        turns = self._controller.gallery_answers(event)
        if event.export:
            kind = "text/csv" if event.export == "csv" else "application/jsonl"
            return Response(await run_in_threadpool(self._controller.export, turns, event), media_type=kind)
        return JSONResponse(await run_in_threadpool(self._controller.view, turns, event))


def _stream(events: AsyncGenerator[Event]) -> Response:
    """Events as lines of JSON. If the browser disconnects, the generator is closed and cleans up after itself."""

    async def lines() -> AsyncGenerator[str]:
        try:
            async for event in events:
                yield json.dumps(event, ensure_ascii=False) + "\n"
        except UserError as error:
            yield json.dumps({"status": sentence(error), "alert": True}) + "\n"
        finally:
            await events.aclose()

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def read_templates(names: Iterable[str]) -> dict[str, str]:
    """The files of a page by name; the style sheet begins with the reports' colours."""
    folder = files("emocaliber.chat") / "templates"
    contents = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    return contents | {"page.css": f"{_palette_css()}\n{contents['page.css']}"}


def _palette_css() -> str:
    """The reports' colours as custom properties, for light and dark screens."""
    light, dark = css_variables(dark=False), css_variables(dark=True)
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
