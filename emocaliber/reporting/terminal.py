"""A Document in the terminal, by rich: paragraphs, tiles and tables. Figures and images are left to the others.

for part in render_terminal(document):
    Console().print(part)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import singledispatch

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from emocaliber.reporting.document import Block, Cell, Document, Paragraph, Table, Terms, Tiles


def render_terminal(document: Document) -> Iterator[RenderableType]:
    """What to print, in the document's order."""
    yield Text(document.title, style="bold")
    for block in document.opening:
        yield from _block(block)
    for section in document.sections:
        yield Text(f"\n{section.title}", style="bold")
        for block in section.blocks:
            yield from _block(block)


@singledispatch
def _block(block: Block) -> Iterator[RenderableType]:
    yield from ()


@_block.register
def _(block: Paragraph) -> Iterator[RenderableType]:
    yield Text(block.text)


@_block.register
def _(block: Terms) -> Iterator[RenderableType]:
    for term, meaning in block.entries:
        yield Text(f"{term}: {meaning}")


@_block.register
def _(block: Tiles) -> Iterator[RenderableType]:
    for tile in block.tiles:
        yield Text(f"{tile.label}: {tile.value} ({tile.detail})")


@_block.register
def _(block: Table) -> Iterator[RenderableType]:
    table = RichTable(title=Text(block.caption), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for place, title in enumerate(block.header):
        if place:
            table.add_column(Text(title.rstrip(" ↑↓")), justify="right", no_wrap=True)
        else:
            table.add_column(Text(title), min_width=16)
    for number, row in enumerate(block.rows):
        name = _name(row[0], reference=number in block.references)
        table.add_row(name, *(Text(_short(cell)) for cell in row[1:]))
    yield table


def _name(cell: Cell, *, reference: bool) -> Text:
    text = Text(cell.text, style="italic" if reference else "")
    return text.append(" (reference)", style="not italic dim") if reference else text


def _short(cell: Cell) -> str:
    """A value over its interval, both without the leading zero."""
    detail = cell.detail.replace(" to ", "…")
    return re.sub(r"(?<![\d.])0(?=\.\d)", "", f"{cell.text}\n{detail}" if detail else cell.text)
