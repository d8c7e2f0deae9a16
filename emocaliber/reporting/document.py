"""Document: what a report says, before it becomes HTML or Markdown.

Not a layout. Every text in it is plain text, untrusted: `html` and `markdown` escape it, so that both say the same.

    python -m pytest tests/reporting/test_rendering.py
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from emocaliber.reporting.run_summary import Example


@dataclass(frozen=True)
class Paragraph:
    """A few sentences. `lead` sets them larger: the words to read if one reads nothing else."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Terms:
    """Words and what they mean."""

    entries: list[tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """A table cell: its text, and smaller beside it a detail such as an interval."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names the row. `floors` are the numbers of the rows that are floors."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]
    floors: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure, as an SVG element (see `svg`). `name` is unique in the document."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class Figure:
    """Panels that are read the same way; `reading` says how."""

    title: str
    panels: list[Panel]
    reading: str


@dataclass(frozen=True)
class Tile:
    """A figure to remember: what it is, its value, and what to hold it against. `mark` is met, missed or neither."""

    label: str
    value: str
    detail: str
    mark: Literal["", "met", "not met"] = ""


@dataclass(frozen=True)
class Tiles:
    """A row of tiles."""

    tiles: list[Tile]


@dataclass(frozen=True)
class Gallery:
    """Answered pictures."""

    caption: str
    examples: list[Example]


Block = Paragraph | Terms | Table | Figure | Tiles | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it. `folded` sections open on a click; in print they are open."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    folded: bool = False


@dataclass(frozen=True)
class Document:
    """A whole report. `opening` stands before the first heading."""

    title: str
    opening: list[Block]
    sections: list[Section]
