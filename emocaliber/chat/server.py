"""The server: the page, its routes, and what protects both, on one port.

Binds to loopback by default, and asks for a password before it serves others. Every request must come from the page
itself, be small and quick, and carry the password where there is one; no route takes a file's name or an address. What
leaves forbids the browser any other host and any script but the page's own.

    serve(build_application(controller), bind("127.0.0.1", 7860))
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import json
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emocaliber.chat.controller import Ask, ChatController, Event, InSession, Judge, View, sentence
from emocaliber.chat.session import MOST_BYTES, read_picture
from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError
from emocaliber.reporting.svg import css_variables

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
EVENT_BYTES = 20_000
BODY_SECONDS = 30.0
DECODED_AT_ONCE = 2
PAGE_FILES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
NO_FRAME = "frame-ancestors 'none'"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "form-action 'none'",
        "base-uri 'none'",
        NO_FRAME,
    ]
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
EventType = TypeVar("EventType", bound=msgspec.Struct)


def check_password(host: str, password: str | None) -> None:
    """Raises UserError where the page would be open to others without a password, or it is not NAME:PASSWORD."""
    if password is None and not is_loopback(host):
        raise UserError(f"--host {host} opens the page to others: set --auth NAME:PASSWORD")
    if password is not None and not all(password.partition(":")[::2]):
        raise UserError("--auth takes a name and a password, separated by a colon: --auth ann:correct-horse")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """The listening socket. Raises UserError where the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise UserError(f"{host}:{port} cannot be served: {reason}; choose another with --port") from None


def serve(application: ASGIApp, listening: socket.socket) -> None:
    """Serve until stopped."""
    config = uvicorn.Config(
        application, log_level="warning", ws="none", server_header=False, timeout_graceful_shutdown=3
    )
    uvicorn.Server(config).run(sockets=[listening])


def build_application(
    controller: ChatController,
    *,
    hosts: frozenset[str] = LOOPBACK,
    password: str | None = None,
    seconds: float = BODY_SECONDS,
    more: Sequence[Route] = (),
    framed_by: str = "",
) -> Starlette:
    """The application. `hosts` are the names that the page may be requested by, none for any; `password` is
    "name:password" or None; `seconds` bounds the sending of a request's body; `more` are a second page's routes;
    `framed_by` is the site that may show the page in a frame of its own, behind its own proxy."""
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
        exception_handlers=REFUSALS,
    )


REFUSALS: dict[Any, Callable[[Request, Any], Response]] = {
    HTTPException: lambda _, error: _refusal(error.status_code, error.detail),
    ImageError: lambda _, error: _refusal(422, str(error)),
    ClientDisconnect: lambda _request, _error: Response(status_code=400),  # which nobody reads
    UserError: lambda _, error: _refusal(422, sentence(error)),
    msgspec.MsgspecError: lambda _, error: _refusal(400, f"The page sent what it never sends: {error}."),
}
"""What an error becomes."""


class _Routes:
    """What each address answers."""

    def __init__(self, controller: ChatController, seconds: float) -> None:
        self._controller, self._seconds = controller, seconds
        self._decoding = asyncio.Semaphore(DECODED_AT_ONCE)
        folder = files("emocaliber.chat") / "templates"
        self._files = {name: (folder / name).read_text(encoding="utf-8") for name in PAGE_FILES}
        self._files["page.css"] = f"{palette_css()}\n{self._files['page.css']}"

    async def page(self, request: Request) -> Response:
        """The page, its style and its script."""
        name = request.url.path[1:] or "page.html"
        return Response(self._files[name], media_type=PAGE_FILES[name])

    async def model(self, _: Request) -> Response:
        """Whether the model is loaded."""
        return JSONResponse(self._controller.model_status())

    async def open(self, request: Request) -> Response:
        """A new session."""
        await read_body(request, EVENT_BYTES, self._seconds)
        return JSONResponse(self._controller.open())

    async def picture(self, request: Request) -> Response:
        """Take a picture, sent as it is, into a session."""
        name, session = (unquote(request.headers.get(key, "")) for key in ("x-picture-name", "x-session"))
        self._controller.sessions.find(session)
        encoded = await read_body(request, MOST_BYTES, self._seconds)
        async with self._decoding:
            picture = await run_in_threadpool(read_picture, encoded, name, self._controller.choice.max_pixels)
        return JSONResponse(self._controller.add_picture(session, picture))

    async def ask(self, request: Request) -> Response:
        """Ask about a session's pictures; a stream of events."""
        return _stream(self._controller.ask(await read_event(request, Ask, self._seconds)))

    async def judge(self, request: Request) -> Response:
        """The answers at another threshold."""
        return JSONResponse(self._controller.judge(await read_event(request, Judge, self._seconds)))

    async def clear(self, request: Request) -> Response:
        """Forget a session's pictures and answers."""
        return JSONResponse(self._controller.clear(await read_event(request, InSession, self._seconds)))

    async def ask_gallery(self, request: Request) -> Response:
        """Ask about all pictures of the gallery; a stream of events."""
        return _stream(self._controller.ask_gallery(await read_event(request, InSession, self._seconds)))

    async def view(self, request: Request) -> Response:
        """The gallery's chosen answers, for the page or as a file."""
        event = await read_event(request, View, self._seconds)
        turns = self._controller.gallery_answers(event)
        if event.export:
            kind = "text/csv" if event.export == "csv" else "application/jsonl"
            return Response(await run_in_threadpool(self._controller.export, turns, event), media_type=kind)
        return JSONResponse(await run_in_threadpool(self._controller.view, turns, event))


async def read_event(request: Request, kind: type[EventType], seconds: float = BODY_SECONDS) -> EventType:
    """The body as an event of this kind. Raises MsgspecError where it is not, in any way."""
    body = await read_body(request, EVENT_BYTES, seconds)
    try:
        return msgspec.json.decode(body, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


async def read_body(request: Request, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The body, read in bounded time and size. Raises HTTPException."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > limit:
        raise HTTPException(413, _too_large(limit))
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise HTTPException(413, _too_large(limit))
    except TimeoutError:
        raise HTTPException(408, f"Sending took longer than {seconds:g} seconds.") from None
    return b"".join(parts)


class Protection:
    """ASGI middleware: refuses requests under other names, from other pages or without the password, and adds HEADERS
    to every answer."""

    def __init__(
        self, application: ASGIApp, *, hosts: frozenset[str], password: str | None, framed_by: str = ""
    ) -> None:
        self._application, self._hosts, self._framed_by = application, hosts, framed_by
        policy = POLICY.replace(NO_FRAME, f"frame-ancestors {framed_by}") if framed_by else POLICY
        self._headers = HEADERS | {"content-security-policy": policy}
        self._expected = None if password is None else b"Basic " + base64.b64encode(password.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a sentence."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
        elif scope["type"] != "http":  # the page opens no websocket
            await send({"type": "websocket.close", "code": 1008})
        else:
            application = self._refusal(Request(scope)) or self._application
            await application(scope, receive, _with_headers(send, self._headers))

    def _refusal(self, request: Request) -> Response | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin", "")
        if self._hosts and host.rpartition(":")[0] not in self._hosts and host not in self._hosts:
            return _refusal(421, "This page is served under another name.")
        names = {host, request.headers.get("x-forwarded-host", host)} if self._framed_by else {host}
        if origin and origin.partition("://")[2] not in names:
            return _refusal(403, "Another page may not ask here.")
        authorization = request.headers.get("authorization", "").encode("latin-1")
        if self._expected is not None and not hmac.compare_digest(authorization, self._expected):
            return _refusal(401, "A name and a password are needed.")
        return None


def _refusal(status: int, text: str) -> Response:
    headers = {"www-authenticate": 'Basic realm="emocaliber", charset="UTF-8"'} if status == 401 else {}
    if status in (408, 413):
        headers["connection"] = "close"
    return PlainTextResponse("There is nothing here." if status in (404, 405) else text, status, headers)


def _with_headers(send: Send, headers: dict[str, str]) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return wrapped


def _stream(events: AsyncGenerator[Event]) -> Response:
    """Events as lines of JSON. Where the browser hangs up, the generator is cancelled and cleans up after itself."""

    async def lines() -> AsyncGenerator[str]:
        try:
            async for event in events:
                yield json.dumps(event, ensure_ascii=False) + "\n"
        except UserError as error:
            yield json.dumps({"status": sentence(error), "alert": True}) + "\n"
        finally:
            await events.aclose()

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def _too_large(limit: int) -> str:
    return f"That is too large: at most {limit / 1e6:g} MB are accepted."


def palette_css() -> str:
    """The reports' colours as custom properties, for light and dark screens."""
    light, dark = css_variables(dark=False), css_variables(dark=True)
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
