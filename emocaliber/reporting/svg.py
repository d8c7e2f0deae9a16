"""From a matplotlib figure to an SVG that takes its colours and fonts from the page it stands in.

The result is the same byte for byte for the same figure, requests nothing from outside, and can stand in one HTML file
beside others: its ids begin with its name.

    draw_svg("risk", "Risk against coverage: ...", lambda axes: axes.plot(coverage, risk))
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from emocaliber.reporting.palette import ALL, AXIS, INK, LINE, MUTED, PAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 360.0
"""Width of every panel in points: what a phone shows without shrinking its letters."""

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

    `name` is unique in its page; `alternative` says in words what is seen.
    """
    import matplotlib as mpl  # half a second that nobody should wait for who draws nothing
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
    """Matplotlib's SVG as an element to be placed in a page: no prologue, colours as variables, ids of its own."""
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
    """The element as a file of its own, on a light page: what Markdown shows."""
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif"'
        f' style="background: {PAGE.light}" class="panel"'
    )
    return svg.replace('<svg class="panel"', opening, 1) + "\n"
