"""A Document as Markdown, with its figures and pictures as files beside it.

The same content as `html`, in the same order. Every text is escaped: what a model wrote cannot become a link, an image
or HTML.

    python -m pytest tests/reporting/test_rendering.py
"""

from __future__ import annotations

import hashlib
import re
from functools import singledispatch

from emocaliber.reporting.document import (
    Block,
    Cell,
    Document,
    Figure,
    Gallery,
    Paragraph,
    Section,
    Table,
    Terms,
    Tiles,
)
from emocaliber.reporting.html import picture_bytes
from emocaliber.reporting.run_summary import Example
from emocaliber.reporting.svg import standalone

_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def render_markdown(document: Document) -> tuple[str, dict[str, bytes]]:
    """The text, and the files it shows by their names relative to it."""
    parts = [f"# {escaped(document.title)}", *map(_block, document.opening), *map(_section, document.sections)]
    return "\n\n".join(parts) + "\n", _files(document)


def escaped(text: str) -> str:
    """Plain text in one line of Markdown: no markup, no HTML, no link."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text).replace("://", "&#58;//").replace("www.", "www&#46;")


def _section(section: Section) -> str:
    return "\n\n".join([f"## {escaped(section.title)}", *map(_block, section.blocks)])


@singledispatch
def _block(block: Block) -> str:
    raise TypeError(f"a report has no block of kind {type(block).__name__}")


@_block.register
def _(block: Paragraph) -> str:
    return escaped(block.text)


@_block.register
def _(block: Terms) -> str:
    return "\n".join(f"- **{escaped(term)}**: {escaped(meaning)}" for term, meaning in block.entries)


@_block.register
def _(block: Table) -> str:
    rows = [
        [_cell(cell, floor=number in block.floors and place == 0) for place, cell in enumerate(row)]
        for number, row in enumerate(block.rows)
    ]
    lines = [list(map(escaped, block.header)), ["---"] * len(block.header), *rows]
    return f"**{escaped(block.caption)}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell, *, floor: bool) -> str:
    text = f"*{escaped(cell.text)}* (floor)" if floor else escaped(cell.text)
    return f"{text} ({escaped(cell.detail)})" if cell.detail else text


@_block.register
def _(block: Figure) -> str:
    panels = [f"![{escaped(one.title)}](figures/{one.name}.svg)" for one in block.panels]
    return "\n\n".join([f"### {escaped(block.title)}", *panels, f"How to read it: {escaped(block.reading)}"])


@_block.register
def _(block: Tiles) -> str:
    return "\n".join(
        f"- **{escaped(one.label)}: {escaped(one.value)}** {escaped(one.detail)} {escaped(one.mark)}".rstrip()
        for one in block.tiles
    )


@_block.register
def _(block: Gallery) -> str:
    rows = [
        f"| ![]({_picture_name(one)}) | {escaped(one.predicted)} | {one.confidence:.2f} | {escaped(one.truth)}"
        f" | {escaped(one.task)}, {escaped(one.group)} | {escaped(one.id)} | {escaped(one.response)} |"
        for one in block.examples
    ]
    header = ["| Picture | Answered | Said | Labelled | Rows | Id | Response |", "| --- " * 7 + "|"]
    return f"### {escaped(block.caption)}\n\n" + "\n".join(header + rows)


def _files(document: Document) -> dict[str, bytes]:
    blocks = [*document.opening, *(block for section in document.sections for block in section.blocks)]
    files: dict[str, bytes] = {}
    for block in blocks:
        if isinstance(block, Figure):
            files |= {f"figures/{one.name}.svg": standalone(one.svg).encode() for one in block.panels}
        if isinstance(block, Gallery):
            files |= {_picture_name(one): picture_bytes(one.image)[1] for one in block.examples}
    return files


def _picture_name(example: Example) -> str:
    """A name of our own making: ids are untrusted and may hold anything."""
    media_type, content = picture_bytes(example.image)
    return f"pictures/{hashlib.sha256(content).hexdigest()[:16]}.{_EXTENSIONS[media_type]}"
