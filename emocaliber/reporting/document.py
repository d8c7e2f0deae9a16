"""Document: what a report says, before it becomes HTML, Markdown or lines in a terminal.

Every text in it is plain text, untrusted: the renderers (`html`, `markdown`, `terminal`) escape it, and say the same.

    Document("Results", [Paragraph("...")], [Section("Accuracy", [Table("All", ["Method"], [[Cell("model")]])])])
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emocaliber.reporting.run_summary import Example


@dataclass(frozen=True)
class Paragraph:
    """A few sentences. `lead` sets them larger: what to read first."""

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
    """Rows under a header; the first column names the row. `references` are the numbers of the rows of reference
    methods."""

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
    """Panels that are read the same way; `reading` says how."""

    title: str
    panels: list[Panel]
    reading: str


@dataclass(frozen=True)
class Tile:
    """A value in large print: its name, the value, and how to read it."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Tiles:
    """A row of tiles."""

    tiles: list[Tile]


@dataclass(frozen=True)
class Gallery:
    """Images with the answers that they got."""

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
    """A report. `opening` stands before the first heading."""

    title: str
    opening: list[Block]
    sections: list[Section]
