"""Rendering a Document in the terminal with rich: paragraphs, tiles and tables, without figures and images.

for part in render_terminal(document):
    Console().print(part)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import singledispatch

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from emocaliber.reporting.document import Block, Cell, Document, Paragraph, Table, Terms, Tiles


def render_terminal(document: Document) -> Iterator[RenderableType]:
    """The renderables to print, in order."""
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
    yield _Fitting(block)


class _Fitting:
    """A table split by columns into as many parts as the width requires, each with the rows' names."""

    def __init__(self, block: Table) -> None:
        self._block = block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        places, first = list(range(1, len(self._block.header))), True
        while places or first:
            wide = len(places)
            while wide > 1 and self._width(console, options, places[:wide]) > options.max_width:
                wide -= 1
            yield self._part(places[:wide], caption=first)
            places, first = places[wide:], False

    def _width(self, console: Console, options: ConsoleOptions, places: Sequence[int]) -> int:
        unbounded = options.update(max_width=1000)
        return Measurement.get(console, unbounded, self._part(places, caption=False)).minimum

    def _part(self, places: Sequence[int], *, caption: bool) -> RichTable:
        block, title = self._block, Text(self._block.caption) if caption else None
        table = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column(Text(block.header[0]), min_width=16)
        for place in places:
            table.add_column(Text(block.header[place].rstrip(" ↑↓")), justify="right", no_wrap=True)
        for number, row in enumerate(block.rows):
            name = _name(row[0], reference=number in block.references)
            table.add_row(name, *(Text(_short(row[place])) for place in places))
        return table


def _name(cell: Cell, *, reference: bool) -> Text:
    text = Text(cell.text, style="italic" if reference else "")
    return text.append(" (reference)", style="not italic dim") if reference else text


def _short(cell: Cell) -> str:
    """A value above its interval, both without leading zeros."""
    detail = cell.detail.replace(" to ", "…")
    return re.sub(r"(?<![\d.])0(?=\.\d)", "", f"{cell.text}\n{detail}" if detail else cell.text)
