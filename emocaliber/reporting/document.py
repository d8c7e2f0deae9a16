"""Document: the content of a report, independent of its rendering as HTML, Markdown or terminal output.

Every text in it is untrusted plain text, which the renderers (`pages`, `terminal`) escape.

    Document("Results", [Paragraph("...")], [Section("Accuracy", [Table("All", ["Method"], [[Cell("model")]])])])
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emocaliber.reporting.run_summary import Example


@dataclass(frozen=True)
class Paragraph:
    """A few sentences; `lead` sets them in larger type."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Terms:
    """A glossary: terms and their meanings."""

    entries: list[tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """A table cell: its text, and a detail in smaller type, such as an interval."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row. `references` are the indices of rows for reference methods."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]
    references: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure, as an SVG element (see `svg`). `name` is unique in the document."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class Figure:
    """Panels of the same type; `reading` explains how to read them."""

    title: str
    panels: list[Panel]
    reading: str


@dataclass(frozen=True)
class Tile:
    """A key value in large type: its name, the value, and how to read it."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Tiles:
    """A row of tiles."""

    tiles: list[Tile]


@dataclass(frozen=True)
class Gallery:
    """Example images with their answers."""

    caption: str
    examples: list[Example]


Block = Paragraph | Terms | Table | Figure | Tiles | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and its content. `folded` sections open on a click, and are open in print."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    folded: bool = False


@dataclass(frozen=True)
class Document:
    """A report; `opening` comes before the first heading."""

    title: str
    opening: list[Block]
    sections: list[Section]
