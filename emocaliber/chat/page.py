"""The page: what stands where, and which control does what. Built with Gradio; state is one `Session` a user.

Not what the controls do (see desk), nor the server. No component of the page takes or serves a file.

    emocaliber chat
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import gradio as gr

from emocaliber.chat.desk import OWN, Desk, Shown, Written, feelings
from emocaliber.chat.gallery_page import Folder, add_gallery
from emocaliber.chat.questions import LONGEST_QUESTION
from emocaliber.chat.rendering import heading_html, message_html
from emocaliber.chat.session import MOST_PICTURES, Session
from emocaliber.core.taxonomy import TAXONOMIES

SECONDS_KEPT = 900
"""How long a session outlives its closed tab."""
MOST_QUEUED = 256
TOGETHER = 64
"""How many users' askings run at a time: they only wait, the engine takes them in batches."""
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True)
class _Controls:
    """The page's components, in the order of the eye."""

    picker: gr.HTML
    tray: gr.HTML
    taxonomy: gr.Radio
    feelings: gr.HTML
    own: gr.Textbox
    typed: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    retry: gr.Button
    clear: gr.Button
    copy: gr.Button
    threshold: gr.Slider
    meaning: gr.HTML
    model: gr.HTML
    status: gr.HTML
    writing: gr.HTML
    answers: gr.HTML
    as_json: gr.Textbox
    session: gr.State


def build_page(desk: Desk, candidates: tuple[str, ...], threshold: float, folder: Folder | None = None) -> gr.Blocks:
    """The page as it opens: these candidates chosen, this threshold set, and a gallery where there is a folder."""
    page: gr.Blocks
    with gr.Blocks(title="emocaliber: ask about a picture", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(heading_html(desk.choice.title, desk.choice.note))
        if folder is None:
            _wire(page, desk, _layout(desk, candidates, threshold))
        else:
            with gr.Tab("Ask"):
                _wire(page, desk, _layout(desk, candidates, threshold))
            with gr.Tab("Gallery"):
                add_gallery(folder, threshold)
    page.queue(max_size=MOST_QUEUED, default_concurrency_limit=TOGETHER, api_open=False)
    return page


def template_text(name: str) -> str:
    """A file of templates/, as it stands."""
    return (files("emocaliber.chat") / "templates" / name).read_text(encoding="utf-8")


def _layout(desk: Desk, candidates: tuple[str, ...], threshold: float) -> _Controls:
    taxonomy = next((one.name for one in TAXONOMIES.values() if one.labels == candidates), OWN)
    own = ", ".join(candidates) if taxonomy == OWN else ""
    session = gr.State(Session(), time_to_live=SECONDS_KEPT)
    as_json = gr.Textbox("[]", visible="hidden", elem_id="json", label="JSON")
    with gr.Row():
        with gr.Column(min_width=320, scale=2):
            left = _asking_part(taxonomy, own) | _threshold_part(desk, taxonomy, own, threshold)
        with gr.Column(min_width=320, scale=3, elem_id="right"):
            right: dict[str, Any] = {
                "model": gr.HTML(desk.model_status(), elem_id="model"),
                "status": gr.HTML("", elem_id="status"),
                "writing": gr.HTML("", elem_id="writing"),
                "answers": gr.HTML(desk.answers(Session(), threshold), elem_id="answers"),
            }
    return _Controls(**left, **right, session=session, as_json=as_json)


def _asking_part(taxonomy: str, own: str) -> dict[str, Any]:
    part: dict[str, Any] = {
        "picker": gr.HTML(template_text("picker.html"), js_on_load=template_text("page.js"), elem_id="picker"),
        "tray": gr.HTML("", elem_id="tray"),
        "taxonomy": gr.Radio([*TAXONOMIES, OWN], value=taxonomy, label="Feelings to choose from", elem_id="taxonomy"),
        "feelings": gr.HTML(feelings(taxonomy, own), elem_id="feelings"),
        "own": gr.Textbox(own, label="My own feelings, separated by commas", max_length=2000, elem_id="own"),
        "typed": gr.Textbox(
            label="A question of your own (optional)",
            placeholder="why not fear?",
            max_length=LONGEST_QUESTION,
            elem_id="typed",
        ),
    }
    with gr.Row():
        part["ask"] = gr.Button("Ask", variant="primary", elem_id="ask", min_width=90)
        part["stop"] = gr.Button("Stop", elem_id="stop", min_width=90)
        part["retry"] = gr.Button("Ask again", elem_id="retry", min_width=90)
    with gr.Row():
        part["clear"] = gr.Button("Clear", elem_id="clear", min_width=90)
        part["copy"] = gr.Button("Copy as JSON", elem_id="copy", min_width=90)
    return part


def _threshold_part(desk: Desk, taxonomy: str, own: str, threshold: float) -> dict[str, Any]:
    return {
        "threshold": gr.Slider(
            0, 1, threshold, step=0.05, label="Trust answers that state at least", elem_id="threshold", buttons=[]
        ),
        "meaning": gr.HTML(desk.meaning(taxonomy, own, threshold), elem_id="meaning"),
    }


def _wire(page: gr.Blocks, desk: Desk, on: _Controls) -> None:
    async def ask(session: Session, taxonomy: str, own: str, typed: str, threshold: float) -> AsyncIterator[Any]:
        async for update in desk.ask(session, taxonomy, own, typed, threshold):
            yield _update(update)

    async def ask_again(session: Session, threshold: float) -> AsyncIterator[Any]:
        async for update in desk.ask_again(session, threshold):
            yield _update(update)

    async def opening() -> AsyncIterator[str]:
        async for status in desk.opening():
            yield status

    def received(session: Session, event: gr.EventData) -> tuple[Session, str, str]:
        return desk.received(session, _strings(event, "tokens"), _strings(event, "refused"))

    def cleared(threshold: float) -> tuple[Any, ...]:
        return (*desk.shown(Session(), threshold, ""), "", "")

    shown = [on.session, on.answers, on.status, on.as_json, on.writing]
    asking = [on.session, on.taxonomy, on.own, on.typed, on.threshold]
    judging = [on.session, on.taxonomy, on.own, on.threshold]
    started: list[Any] = [
        on.ask.click(ask, asking, shown, **QUIET),
        on.typed.submit(ask, asking, shown, **QUIET),
        on.retry.click(ask_again, [on.session, on.threshold], shown, **QUIET),
    ]
    stopped = message_html("Stopped. What was not finished is left out.")
    on.stop.click(lambda: (stopped, ""), None, [on.status, on.writing], cancels=started, **QUIET)
    on.clear.click(cleared, [on.threshold], [*shown, on.tray, on.typed], cancels=started, **QUIET)
    on.picker.upload(received, [on.session], [on.session, on.tray, on.status], **QUIET)
    for changed in (on.threshold.change, on.taxonomy.change, on.own.blur):
        changed(desk.judged, judging, [on.answers, on.meaning, on.as_json, on.feelings], **QUIET)
    on.copy.click(None, [on.as_json], [on.status], js=template_text("copy.js"))
    page.load(opening, None, [on.model], **QUIET)


def _update(update: Shown | Written) -> tuple[Any, ...]:
    """The page's new parts, or what is being written and nothing else."""
    return (*[gr.skip()] * 4, update) if isinstance(update, str) else update


def _strings(event: gr.EventData, name: str) -> list[str]:
    """What the picker sent under a name; anything else that a client might send counts as nothing."""
    sent = getattr(event, name, [])
    return [item[:300] for item in sent[:MOST_PICTURES] if isinstance(item, str)] if isinstance(sent, list) else []
