"""Writing a report's files, each whole or not at all.

emocaliber score predictions.jsonl --out results
"""

from __future__ import annotations

from pathlib import Path

from emocaliber.core.files import write_atomically
from emocaliber.reporting.document import Document
from emocaliber.reporting.html import render_html
from emocaliber.reporting.markdown import render_markdown


def write_page(document: Document, out_dir: Path) -> Path:
    """Write report.html, which needs no other file; returns its path."""
    path = out_dir / "report.html"
    write_atomically(path, [render_html(document).encode()])
    return path


def write_text(document: Document, out_dir: Path) -> Path:
    """Write report.md, with its figures and pictures in folders beside it; returns its path."""
    path = out_dir / "report.md"
    text, shown = render_markdown(document)
    for name, content in shown.items():
        write_atomically(out_dir / name, [content])
    write_atomically(path, [text.encode()])
    return path
