"""The colours of a report, and matplotlib figures as SVG that inherits colours and fonts from the surrounding page.

The colours, for light and dark mode, are distinguishable with red-green colour blindness, and series also differ in
marker, line and hatch. Text has a contrast of at least 4.5 and lines of at least 3 against the page (WCAG 2.2 AA, 1.4.3
and 1.4.11). The same figure gives the same bytes. An SVG loads no external resources, and several fit in one HTML file,
because their ids start with their name.

    draw_svg("risk", "Risk against coverage: ...", lambda axes: axes.plot(coverage, risk))
    css_variables(dark=True)        # "--page: #15181b; --card: ..."
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Colour:
    """A colour role in light and dark mode. Light colours are unique, so that they identify the role in an SVG."""

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
    """Styles for this many series; they repeat after six, so no figure should have more."""
    every = zip(SERIES, _MARKERS, _DASHES, strict=True)
    return list(islice(cycle(SeriesStyle(colour.light, marker, dashes) for colour, marker, dashes in every), number))


def css_variables(*, dark: bool) -> str:
    """The colours as CSS custom properties."""
    return " ".join(f"--{colour.name}: {colour.dark if dark else colour.light};" for colour in ALL)


WIDTH = 360.0
"""Width of every panel in points, chosen to be legible on a phone."""

_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.hashsalt": "emocaliber",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "axes.edgecolor": AXIS.light,
    "axes.labelcolor": INK.light,
    "text.color": INK.light,
    "xtick.color": AXIS.light,
    "ytick.color": AXIS.light,
    "xtick.labelcolor": MUTED.light,
    "ytick.labelcolor": MUTED.light,
    "grid.color": LINE.light,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "hatch.color": PAGE.light,
    "hatch.linewidth": 1.2,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
}

Draw = Callable[["Axes"], None]


def draw_svg(
    name: str, alternative: str, draw: Draw, *, height: float = 300.0, left: float = 52.0, below: float = 46.0
) -> str:
    """One pair of axes drawn by `draw`, WIDTH points wide; `left` and `below` are the margins in points.

    `name` is unique in its page; `alternative` is the text alternative for screen readers.
    """
    import matplotlib as mpl  # half a second to import, so only when something is drawn
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_axes((left / WIDTH, below / height, 1 - (left + 14) / WIDTH, 1 - (below + 12) / height))
        draw(axes)
        stream = io.StringIO()
        canvas.print_svg(stream, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return themed(stream.getvalue(), name, alternative)


def themed(svg: str, name: str, alternative: str) -> str:
    """Matplotlib's SVG as an element to embed in a page: no prologue, colours as CSS variables, prefixed ids."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]+)"', svg)
    assert view is not None
    svg = svg[svg.index(">") + 1 :]
    used = set(re.findall(r"#([\w-]+)(?=[)\"])", svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", svg).replace("xlink:href", "href")
    svg = re.sub(r' (fill|stroke)="(#[0-9a-f]{6})"', r' style="\1: \2"', svg)
    for colour in ALL:
        svg = svg.replace(f": {colour.light}", f": var(--{colour.name}, {colour.light})")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    opening = f'<svg class="panel" viewBox="{view[1]}" role="img" aria-labelledby="{name}-title">'
    return f'{opening}<title id="{name}-title">{escape(alternative)}</title>{svg}'


def standalone(svg: str) -> str:
    """The element as a standalone SVG file with a light background, for Markdown."""
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif"'
        f' style="background: {PAGE.light}" class="panel"'
    )
    return svg.replace('<svg class="panel"', opening, 1) + "\n"
