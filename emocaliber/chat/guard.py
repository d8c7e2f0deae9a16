"""The guard: what reaches the page's web application at all, and what a browser may do with the answers.

Not the application. Everything is refused but the routes that the page needs; requests are small and quick, come from
the page itself, name no file, and, where a password is set, carry it. What leaves forbids the browser any other host.

    python -m pytest tests/chat/test_guard.py
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 200_000
SECONDS = 30.0
UPLOAD = "/pictures"

_ROUTES = re.compile(
    r"/|/config/?|/theme\.css|/gradio_api/theme\.css|/favicon\.ico|/manifest\.json|/(?:assets|static)/[\w./@+-]*"
    r"|/gradio_api/(?:info|queue/join|queue/data|cancel|reset|startup-events|app_id|heartbeat/[\w-]+)/?"
    rf"|{UPLOAD}"
)
_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio's own pages need both
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
]
_FILE_KEYS = {"path", "url", "meta"}


class RefusedError(Exception):
    """A request that is not passed on: its status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Guard:
    """ASGI middleware. `hosts` are the names that the page is served under, none for any (bound to the network);
    `password` is "name:word", none for no password; `upload_bytes` bounds an upload, `seconds` the sending of it."""

    def __init__(
        self,
        application: Application,
        *,
        hosts: frozenset[str],
        password: str | None,
        upload_bytes: int,
        seconds: float = SECONDS,
    ) -> None:
        self._application, self._hosts, self._seconds = application, hosts, seconds
        self._limits = {UPLOAD: upload_bytes}
        self._expected = None if password is None else b"Basic " + base64.b64encode(password.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it with a sentence."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":  # the page opens no websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            headers = {name.lower(): value for name, value in scope["headers"]}
            self._check(scope, headers)
            body = await self._body(scope, headers, receive)
            if scope["path"] != UPLOAD:
                _refuse_files(body)
        except RefusedError as refusal:
            await _answer(refusal, send)
            return
        await self._application(scope, _replaying(body, receive), _with_headers(send))

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts and host.rpartition(":")[0] not in self._hosts and host not in self._hosts:
            raise RefusedError(421, "This page is served under another name.")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin.partition("://")[2] != host:
            raise RefusedError(403, "Another page may not ask here.")
        if self._expected is not None and not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            raise RefusedError(401, "A name and a password are needed.")
        if (
            scope["method"] not in ("GET", "HEAD", "POST")
            or ".." in scope["path"]
            or not _ROUTES.fullmatch(scope["path"])
        ):
            raise RefusedError(404, "There is nothing here.")

    async def _body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        limit = self._limits.get(scope["path"], MOST_BYTES)
        declared = headers.get(b"content-length", b"0").decode("latin-1")
        if not declared.isdecimal() or int(declared) > limit:
            raise RefusedError(413, f"That is too large: at most {limit / 1e6:g} MB are taken.")
        if scope["method"] != "POST":
            return b""
        try:
            async with asyncio.timeout(self._seconds):
                return await _read(receive, limit)
        except TimeoutError:
            raise RefusedError(408, f"Sending took longer than {self._seconds:g} seconds.") from None


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "The connection was closed.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise RefusedError(413, f"That is too large: at most {limit / 1e6:g} MB are taken.")
        if not message.get("more_body"):
            return b"".join(parts)


def _refuse_files(body: bytes) -> None:
    """No event of the page names a file: one that does wants something read or fetched."""
    if not body:
        return
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "That is not JSON.") from None
    pending = [content]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if _FILE_KEYS & item.keys():
                raise RefusedError(400, "Files and addresses are never opened; send a picture.")
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def _replaying(body: bytes, receive: Receive) -> Receive:
    """The body again, once; after it, whatever the server says."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return wrapped


async def _answer(refusal: RefusedError, send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="emocaliber", charset="UTF-8"'))
    if refusal.status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.sentence.encode()})
