"""The server: the page, the route that takes pictures, and the guard in front of both, on one port.

Not the page. Binds to loopback unless told otherwise, and then wants a password. Gradio's own launcher is not used: it
opens what this page does not need (shared links, served folders, uploads).

    emocaliber chat --port 7860
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from urllib.parse import unquote

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from emocaliber.chat.address import LOOPBACK
from emocaliber.chat.desk import Desk
from emocaliber.chat.gallery import files_of
from emocaliber.chat.gallery_page import Folder
from emocaliber.chat.guard import SECONDS, UPLOAD, Application, Guard
from emocaliber.chat.page import build_page, template_text
from emocaliber.chat.pictures import MOST_BYTES, Waiting, read_picture
from emocaliber.core.images import ImageError
from emocaliber.reporting.palette import css_variables

DECODED_AT_ONCE = 2


def build_application(
    desk: Desk,
    candidates: tuple[str, ...],
    threshold: float,
    *,
    gallery: Path | None = None,
    hosts: frozenset[str] = LOOPBACK,
    password: str | None = None,
    seconds: float = SECONDS,
) -> Application:
    """The whole application, guard included. `hosts`, `password` and `seconds` are the guard's.

    Raises UserError where `gallery`, a folder, holds no pictures.
    """
    routes = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _take_pictures(routes, desk.waiting)
    folder = None if gallery is None else Folder(desk, gallery, tuple(files_of(gallery)), candidates)
    page = build_page(desk, candidates, threshold, folder)
    local = ("system-ui", "sans-serif")
    gr.mount_gradio_app(
        routes,
        page,
        path="",
        footer_links=[],
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        theme=gr.themes.Base(font=local, font_mono=("ui-monospace", "monospace")),
        css=_css(),
    )
    return Guard(routes, hosts=hosts, password=password, upload_bytes=MOST_BYTES, seconds=seconds)


def _css() -> str:
    light, dark = css_variables(dark=False), css_variables(dark=True)
    return f":root {{ {light} }}\n.dark {{ {dark} }}\n{template_text('page.css')}"


def _take_pictures(routes: FastAPI, waiting: Waiting) -> None:
    decoding = asyncio.Semaphore(DECODED_AT_ONCE)

    async def take(request: Request) -> Response:
        """One picture's bytes; a token to it, or one sentence why not."""
        name, encoded = unquote(request.headers.get("x-picture-name", "picture")), await request.body()
        try:
            async with decoding:
                picture = await run_in_threadpool(read_picture, encoded, name)
        except ImageError as problem:
            return PlainTextResponse(str(problem), status_code=422)
        return JSONResponse({"token": waiting.add(picture)})

    routes.add_api_route(UPLOAD, take, methods=["POST"], response_model=None)


def serve(application: Application, listening: socket.socket) -> None:
    """Serve until stopped."""
    config = uvicorn.Config(
        application, log_level="warning", ws="none", server_header=False, timeout_graceful_shutdown=3
    )
    uvicorn.Server(config).run(sockets=[listening])
