"""The gallery's part of the page: ask about the whole folder, filter, look, export.

Not the gallery's logic (see gallery). Exports are made in the browser from text: no file is written or served.

    emocaliber chat --gallery FOLDER
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from emocaliber.chat import gallery
from emocaliber.chat.answers import Answer
from emocaliber.chat.batching import BusyError
from emocaliber.chat.desk import Desk
from emocaliber.chat.gallery import EVERY_LABEL, NO_LABEL, Row
from emocaliber.chat.rendering import gallery_html, message_html

SHOWN = 60
_DOWNLOAD = """(text) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: '%s' }));
  link.download = '%s';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  return [];
}"""

Rows = tuple[Row, ...]


@dataclass(frozen=True)
class Folder:
    """What the gallery shows: the folder named on the command line, and the feelings to choose from."""

    desk: Desk
    root: Path
    names: tuple[str, ...]
    candidates: tuple[str, ...]

    async def ask(self, label: str, untrusted: bool, threshold: float) -> AsyncIterator[tuple[Rows, str, str]]:
        """Ask about every picture; rows, gallery and progress after each part."""
        rows: Rows = ()
        yield rows, "", message_html(f"Asking about {len(self.names)} pictures.")
        coming = gallery.ask_folder(self.root, self.names, self.desk.choice, self.desk.batcher, self.candidates)
        try:
            async for more in coming:
                rows = (*rows, *more)
                progress = message_html(f"{len(rows)} of {len(self.names)} answered.")
                yield rows, self.shown(rows, label, untrusted, threshold), progress
        except BusyError as busy:
            yield rows, self.shown(rows, label, untrusted, threshold), message_html(str(busy), "alert")
        except Exception as error:  # the engine broke, not this page: what was answered stays
            message = message_html(f"The model is gone: {error}", "alert")
            yield rows, self.shown(rows, label, untrusted, threshold), message
        finally:
            await coming.aclose()

    def shown(self, rows: Rows, label: str, untrusted: bool, threshold: float) -> str:
        """The first SHOWN of the chosen pictures, as HTML."""
        found = self._chosen(rows, label, untrusted, threshold)
        return gallery_html(found[:SHOWN], len(found)) if rows else ""

    def csv(self, rows: Rows, label: str, untrusted: bool, threshold: float) -> str:
        """All chosen pictures as CSV."""
        return gallery.as_csv([answer for answer, _ in self._chosen(rows, label, untrusted, threshold)])

    def jsonl(self, rows: Rows, label: str, untrusted: bool, threshold: float) -> str:
        """All chosen pictures as JSON Lines."""
        return gallery.as_jsonl([answer for answer, _ in self._chosen(rows, label, untrusted, threshold)])

    def _chosen(self, rows: Rows, label: str, untrusted: bool, threshold: float) -> list[tuple[Answer, str]]:
        answers = [(row.read(self.desk.choice, threshold), row.thumbnail) for row in rows]
        return gallery.chosen(gallery.doubtful_first(answers), label, untrusted)


def add_gallery(folder: Folder, threshold: float) -> None:
    """Lay out and wire the gallery where the caller stands."""
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    rows, text = gr.State(()), gr.Textbox("", visible="hidden", elem_id="exported", label="Exported")
    gr.HTML(message_html(f"{len(folder.names)} pictures of {folder.root.name}, the most doubtful first."))
    with gr.Row():
        ask = gr.Button("Ask about all", variant="primary", elem_id="gallery-ask", min_width=90)
        stop = gr.Button("Stop", elem_id="gallery-stop", min_width=90)
        csv = gr.Button("Export CSV", elem_id="gallery-csv", min_width=90)
        jsonl = gr.Button("Export JSONL", elem_id="gallery-jsonl", min_width=90)
    label = gr.Radio([EVERY_LABEL, *folder.candidates, NO_LABEL], value=EVERY_LABEL, label="Show", elem_id="filter")
    untrusted = gr.Checkbox(False, label="Only answers that are not trusted", elem_id="untrusted")
    trust = gr.Slider(0, 1, threshold, step=0.05, label="Trust answers that state at least", buttons=[])
    progress, shown = gr.HTML("", elem_id="gallery-progress"), gr.HTML("", elem_id="gallery")

    async def asked(label: str, untrusted: bool, threshold: float) -> AsyncIterator[tuple[Rows, str, str]]:
        async for page in folder.ask(label, untrusted, threshold):
            yield page

    choice = [label, untrusted, trust]
    running = ask.click(asked, choice, [rows, shown, progress], **quiet)
    stop.click(lambda: message_html("Stopped."), None, [progress], cancels=[running], **quiet)
    for control in (label, untrusted, trust):
        control.change(folder.shown, [rows, *choice], [shown], **quiet)
    for button, export, kind, name in (
        (csv, folder.csv, "text/csv", "gallery.csv"),
        (jsonl, folder.jsonl, "application/jsonl", "gallery.jsonl"),
    ):
        exported = button.click(export, [rows, *choice], [text], **quiet)
        exported.then(None, [text], [], js=_DOWNLOAD % (kind, name))
