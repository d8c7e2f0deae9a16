"""One metric by task and group: a bar, a marker and an interval for each method.

subsets_panel("ece", "ECE", "ECE (0 to 1)", {"Task “FI-8”": {"model": Estimate(0.05, 0.04, 0.07)}}).svg
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from emocaliber.evaluation.scorecard import Estimate
from emocaliber.reporting.curves import shortened
from emocaliber.reporting.document import Panel
from emocaliber.reporting.svg import INK, MUTED, draw_svg, series_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUBSETS_READING = (
    "One block per task and group of samples, one bar per method. The thin line through the end of a bar is its"
    " interval. Where two intervals overlap, the tables of paired differences say whether the methods differ clearly."
)

ROW, GAP = 17.0, 25.0
"""Height of a bar, and of a block's heading, in points."""


def subsets_panel(name: str, title: str, axis: str, values: Mapping[str, Mapping[str, Estimate]]) -> Panel:
    """`values` maps a subset's heading to each method's estimate; `axis` is the axis label with its unit."""
    methods = list(dict.fromkeys(method for own in values.values() for method in own))
    styles = dict(zip(methods, series_styles(len(methods)), strict=True))

    def draw(axes: Axes) -> None:
        at = 0.0
        places: dict[str, list[tuple[float, Estimate]]] = {method: [] for method in methods}
        for heading, own in values.items():
            axes.annotate(
                shortened(heading, 56),
                (0, -(at + GAP * 0.62)),
                (2, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                color=INK.light,
            )
            at += GAP
            for method, value in own.items():
                places[method].append((-(at + ROW / 2), value))
                at += ROW
        for method, bars in places.items():
            _bars(axes, bars, styles[method].colour, styles[method].marker)
        axes.set_ylim(-at - 4, 0)
        axes.set_xlim(left=0)
        axes.set_yticks([])
        axes.set_xlabel(axis)
        axes.spines["left"].set_visible(True)
        _legend(axes, methods)

    rows = sum(ROW * len(own) + GAP for own in values.values()) + 4
    below = 48 + 15.5 * len(methods)
    description = "; ".join(
        f"{heading}, {method}: {estimate.value:.3f}"
        for heading, own in values.items()
        for method, estimate in own.items()
        if estimate.value is not None
    )
    svg = draw_svg(name, f"{title}. {description}.", draw, height=rows + below + 12, left=14, below=below)
    return Panel(name, title, svg)


def _bars(axes: Axes, bars: Sequence[tuple[float, Estimate]], colour: str, marker: str) -> None:
    """One method's estimates, each at its height."""
    for y, estimate in bars:
        if estimate.value is None:
            axes.annotate("undefined here", (0, y), (4, 0), textcoords="offset points", va="center", color=MUTED.light)
    defined = [(y, estimate.value, estimate) for y, estimate in bars if estimate.value is not None]
    heights, values = [y for y, _, _ in defined], [value for _, value, _ in defined]
    axes.barh(heights, values, height=ROW * 0.42, color=colour, alpha=0.32)
    bounded = [(y, own.low, own.high) for y, _, own in defined if own.low is not None and own.high is not None]
    axes.hlines(
        [y for y, _, _ in bounded], [low for _, low, _ in bounded], [high for _, _, high in bounded], colour, lw=1.6
    )
    axes.plot(values, heights, marker, color=colour, markersize=6, linestyle="none")


def _legend(axes: Axes, methods: list[str]) -> None:
    handles = [
        axes.plot([], [], marker=style.marker, color=style.colour, label=shortened(method))[0]
        for method, style in zip(methods, series_styles(len(methods)), strict=True)
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 0),
        bbox_transform=axes.figure.transFigure,
        labelcolor=INK.light,
    )
