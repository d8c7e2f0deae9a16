"""Writing a report's files, each whole or not at all.

emocaliber score predictions.jsonl --out results
"""

from __future__ import annotations

from pathlib import Path

from emocaliber.prediction_files import write_atomically
from emocaliber.reporting.document import Document
from emocaliber.reporting.html import render_html
from emocaliber.reporting.markdown import render_markdown


def write_document(document: Document, out_dir: Path) -> Path:
    """Write report.html, and report.md with its figures and pictures beside it; returns the path of report.html."""
    page = render_html(document)
    text, shown = render_markdown(document)
    for name, content in shown.items():
        write_atomically(out_dir / name, [content])
    write_atomically(out_dir / "report.md", [text.encode()])
    write_atomically(out_dir / "report.html", [page.encode()])
    return out_dir / "report.html"
