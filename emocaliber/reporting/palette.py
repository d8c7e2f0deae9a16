"""Colours of a report, for light and dark screens, that people who do not see red and green apart can read.

Series differ in marker, line and hatch as well as in colour. Text has a contrast of at least 4.5 and lines of at least
3 against the page (WCAG 2.2 AA, 1.4.3 and 1.4.11).

    css_variables(dark=True)        # "--page: #15181b; --card: ..."
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice


@dataclass(frozen=True)
class Colour:
    """One role and its colour on light and on dark screens. No two roles share a light colour: it names the role."""

    name: str
    light: str
    dark: str


PAGE = Colour("page", "#fcfcfb", "#15181b")
CARD = Colour("card", "#f1f2f0", "#1f2428")
INK = Colour("ink", "#1c2024", "#e8eaec")
MUTED = Colour("muted", "#565e66", "#aab2ba")
LINE = Colour("line", "#d3d7da", "#3a4248")
AXIS = Colour("axis", "#7a828a", "#848d95")
BAND = Colour("band", "#d9dde2", "#39424b")
BLUE = Colour("blue", "#0067a3", "#5bb4ee")
ORANGE = Colour("orange", "#b54700", "#f2994f")
GREEN = Colour("green", "#00755a", "#45c7a2")
PURPLE = Colour("purple", "#8b3a94", "#d993e0")
BROWN = Colour("brown", "#75590b", "#d8ba55")
GREY = Colour("grey", "#5f6a75", "#a0abb6")

ALL = (PAGE, CARD, INK, MUTED, LINE, AXIS, BAND, BLUE, ORANGE, GREEN, PURPLE, BROWN, GREY)
TEXT = (INK, MUTED, BLUE, ORANGE, GREEN)
SERIES = (BLUE, ORANGE, GREEN, PURPLE, BROWN, GREY)


@dataclass(frozen=True)
class SeriesStyle:
    """How one series is drawn: matplotlib's marker and dash pattern (offset, on-off lengths in points)."""

    colour: str
    marker: str
    dashes: tuple[float, tuple[float, ...]] | str


_MARKERS = ("o", "s", "^", "D", "v", "X")
_DASHES: tuple[tuple[float, tuple[float, ...]] | str, ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (9, 2)),
    (0, (1, 2)),
)


def series_styles(number: int) -> list[SeriesStyle]:
    """Styles for this many series; past six they repeat, so no figure should hold more."""
    every = zip(SERIES, _MARKERS, _DASHES, strict=True)
    return list(islice(cycle(SeriesStyle(colour.light, marker, dashes) for colour, marker, dashes in every), number))


def css_variables(*, dark: bool) -> str:
    """The colours as CSS custom properties."""
    return " ".join(f"--{colour.name}: {colour.dark if dark else colour.light};" for colour in ALL)
