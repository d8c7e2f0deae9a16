"""Risk–coverage curves of several methods, and the trusted curves of one.

Not the curves themselves: `emocaliber.evaluation` measures them.

    python -m pytest tests/reporting/test_figures.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from emocaliber.evaluation.scorecard import RiskCoverage, TrustedCurve
from emocaliber.reporting.document import Panel
from emocaliber.reporting.palette import AXIS, INK, MUTED, series_styles
from emocaliber.reporting.svg import draw_svg

RISK_READING = (
    "Let the model answer only where it is most confident: across, the share of pictures it then answers; up, the share"
    " of those answers that are wrong. Lower is better, and a useful confidence falls towards the left: the surest"
    " answers are the most often right. At 100 % every curve ends at its error rate. Pictures without a usable answer"
    " count as wrong and come first: such a curve starts at 100 %."
)

TRUSTED_READING = (
    "Trust an answer when its stated confidence reaches a threshold (across). Precision: how many trusted answers are"
    " right. Recall: how many right answers are trusted. F1 joins the two. The dotted level is the F1 of trusting"
    " everything: only what rises above it is worth something. Vertical lines mark thresholds that were chosen."
)

POINTS = 160
"""At most this many points of a curve are drawn, evenly spread: more cannot be seen."""


def risk_coverage_panel(name: str, title: str, curves: Mapping[str, RiskCoverage]) -> Panel:
    """Selective risk against coverage of up to six methods, in per cent."""

    def draw(axes: Axes) -> None:
        for (label, curve), style in zip(curves.items(), series_styles(len(curves)), strict=True):
            kept = thinned(len(curve.coverage))
            axes.plot(
                [100 * curve.coverage[index] for index in kept],
                [100 * curve.risk[index] for index in kept],
                color=style.colour,
                linestyle=style.dashes,
                marker=style.marker,
                markevery=0.19,
                label=shortened(label),
            )
        axes.set(xlim=(0, 101), xlabel="Pictures answered (% of all)", ylabel="Wrong among them (%)")
        axes.set_ylim(0, _top(curves))
        axes.legend(loc="upper left", bbox_to_anchor=(-0.12, -0.17), labelcolor=INK.light, borderaxespad=0)

    below = 62 + 15.5 * len(curves)
    spoken = "; ".join(
        f"{label} ends at {100 * curve.risk[-1]:.1f} % wrong" for label, curve in curves.items() if curve.risk
    )
    svg = draw_svg(name, f"Risk against coverage: {spoken}.", draw, height=250 + below, below=below)
    return Panel(name, title, svg)


def trusted_panel(name: str, title: str, curve: TrustedCurve, chosen: Sequence[float], floor: float | None) -> Panel:
    """Trusted precision, recall and F1 of one method against the threshold; `floor` is trust-everything's F1."""

    def draw(axes: Axes) -> None:
        series: list[tuple[str, Sequence[float | None]]] = [
            ("precision", curve.precision),
            ("recall", curve.recall),
            ("F1", curve.f1),
        ]
        for (label, values), style in zip(series, series_styles(3), strict=True):
            defined = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
            axes.plot(
                curve.threshold,
                defined,
                color=style.colour,
                linestyle=style.dashes,
                marker=style.marker,
                markevery=max(1, len(curve.threshold) // 8),
                label=label,
            )
        if floor is not None:
            axes.axhline(floor, color=MUTED.light, linestyle=":", linewidth=1.6, label="F1 of trusting everything")
        for one in chosen:
            axes.axvline(one, color=AXIS.light, linewidth=0.8, linestyle=(0, (7, 3)))
        axes.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel="Threshold (confidence, 0 to 1)", ylabel="Score (0 to 1)")
        axes.legend(loc="upper left", bbox_to_anchor=(-0.12, -0.2), ncols=2, labelcolor=INK.light, borderaxespad=0)

    best = max(curve.f1, default=0.0)
    spoken = f"Trusted precision, recall and F1 of {title} against the threshold; the greatest F1 is {best:.2f}."
    return Panel(name, title, draw_svg(name, spoken, draw, height=310, below=92))


def _top(curves: Mapping[str, RiskCoverage]) -> float:
    """Room for every curve from a fifth of the pictures on, in per cent: the first few pictures say little."""
    shown = [risk for one in curves.values() for at, risk in zip(one.coverage, one.risk, strict=True) if at >= 0.2]
    return min(102.0, max(5.0, 118 * max(shown, default=1.0)))


def thinned(number: int) -> list[int]:
    """At most POINTS of this many positions, the ends always among them."""
    return [int(one) for one in np.unique(np.linspace(0, number - 1, min(POINTS, number)).round())]


def shortened(label: str, length: int = 46) -> str:
    """A label that fits under a panel; a long one is cut in the middle, so that its end can still be told."""
    half = (length - 1) // 2
    return label if len(label) <= length else f"{label[:half]}…{label[-half:]}"
