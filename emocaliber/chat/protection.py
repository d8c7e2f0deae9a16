"""What protects the pages: checks on every request, headers on every answer, and a password where one is set.

A request must come from the page itself, under the page's own name, be small and quick, and carry the password if there
is one. The headers forbid the browser every other host, and every script but the page's own.

    Starlette(routes=..., middleware=[Middleware(Protection, hosts=LOOPBACK, password=None)],
              exception_handlers=ERROR_RESPONSES)
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emocaliber.chat.controller import sentence
from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
EVENT_BYTES = 20_000
BODY_SECONDS = 30.0
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
    """Raises UserError if others could open the page without a password, or if the password is not NAME:PASSWORD."""
    if password is None and not is_loopback(host):
        raise UserError(f"--host {host} lets other machines open the page: add --auth NAME:PASSWORD")
    if password is not None and not all(password.partition(":")[::2]):
        raise UserError("--auth takes a user name and a password with a colon between: --auth ann:correct-horse")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def read_event(request: Request, kind: type[EventType], seconds: float = BODY_SECONDS) -> EventType:
    """The body, decoded as an event of this kind. Raises MsgspecError if it is anything else."""
    body = await read_body(request, EVENT_BYTES, seconds)
    try:
        return msgspec.json.decode(body, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


async def read_body(request: Request, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The body, at most `limit` bytes, sent within `seconds`. Raises HTTPException if it exceeds either."""
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
        raise HTTPException(408, f"Sending the request took longer than {seconds:g} seconds.") from None
    return b"".join(parts)


class Protection:
    """ASGI middleware that refuses requests under other host names, from other pages or without the password, and adds
    HEADERS to every answer."""

    def __init__(
        self, application: ASGIApp, *, hosts: frozenset[str], password: str | None, framed_by: str = ""
    ) -> None:
        self._application, self._hosts, self._framed_by = application, hosts, framed_by
        policy = POLICY.replace(NO_FRAME, f"frame-ancestors {framed_by}") if framed_by else POLICY
        self._headers = HEADERS | {"content-security-policy": policy}
        self._expected = None if password is None else b"Basic " + base64.b64encode(password.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with the sentence of a refusal."""
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
            return _refusal(421, "This page is served under another host name.")
        names = {host, request.headers.get("x-forwarded-host", host)} if self._framed_by else {host}
        if origin and origin.partition("://")[2] not in names:
            return _refusal(403, "Requests from other pages are refused.")
        authorization = request.headers.get("authorization", "").encode("latin-1")
        if self._expected is not None and not hmac.compare_digest(authorization, self._expected):
            return _refusal(401, "A user name and a password are required.")
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


ERROR_RESPONSES: dict[Any, Callable[[Request, Any], Response]] = {
    HTTPException: lambda _, error: _refusal(error.status_code, error.detail),
    ImageError: lambda _, error: _refusal(422, str(error)),
    ClientDisconnect: lambda _request, _error: Response(status_code=400),  # nobody reads it
    UserError: lambda _, error: _refusal(422, sentence(error)),
    msgspec.MsgspecError: lambda _, error: _refusal(400, f"This is not a request of the page: {error}."),
}
"""The answer to each kind of error."""


def _too_large(limit: int) -> str:
    return f"The request is too large: at most {limit / 1e6:g} MB are accepted."
