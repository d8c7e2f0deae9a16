"""Curves over the level of corruption: a panel for each metric and corruption, with a line for each method.

It only draws; baselines_corruption measures, and calls this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from emocaliber.reporting.svg import PAGE, series_styles

METRICS = ("accuracy", "mean confidence", "ECE", "AUROC", "trusted F1", "its floor", "mean uncertainty")
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "emocaliber",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "axes.facecolor": PAGE.light,
}
DRAWN = ("accuracy", "mean confidence", "ECE", "AUROC", "trusted F1", "mean uncertainty")


@dataclass(frozen=True)
class Point:
    """One method at one corruption level, with its value of each of METRICS."""

    corruption: str
    level: float
    method: str
    values: dict[str, float]


def draw(points: Sequence[Point], methods: Sequence[str], path: Path) -> None:
    """Write one SVG: metrics in rows, corruptions in columns, uncertainty on a logarithmic axis (without 0). At most
    six `methods`, so that their lines can be told apart."""
    kinds = list(dict.fromkeys(point.corruption for point in points))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2.6 * len(kinds), 1.75 * len(DRAWN) + 0.7), facecolor=PAGE.light, layout="constrained")
        grid = figure.subplots(len(DRAWN), len(kinds), sharex="col", sharey="row", squeeze=False)
        for metric, across in zip(DRAWN, grid, strict=True):
            across[0].set_ylabel(metric)
            for kind, axes in zip(kinds, across, strict=True):
                _lines(axes, [point for point in points if point.corruption == kind], methods, metric)
        grid[-1][0].set_yscale("log")
        for kind, top, bottom in zip(kinds, grid[0], grid[-1], strict=True):
            top.set_title(kind)
            bottom.set_xlabel("level")
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})  # type: ignore[no-untyped-call]


def _lines(axes: Axes, points: Sequence[Point], methods: Sequence[str], metric: str) -> None:
    for method, style in zip(methods, series_styles(len(methods)), strict=True):
        points_of_method = [point for point in points if point.method == method]
        levels, values = (
            [point.level for point in points_of_method],
            [point.values[metric] for point in points_of_method],
        )
        axes.plot(
            levels,
            values,
            color=style.colour,
            linestyle=style.dashes,
            marker=style.marker,
            markersize=3.5,
            label=method,
        )
