"""Reliability diagram with consistency bands, and the histogram of stated confidences.

Not the curve itself: `emocaliber.evaluation.reliability` measures it.

    python -m pytest tests/reporting/test_figures.py
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from emocaliber.evaluation.scorecard import HistogramBin, ReliabilityBin
from emocaliber.reporting.document import Panel
from emocaliber.reporting.palette import AXIS, BAND, BLUE, INK, MUTED, ORANGE, PAGE
from emocaliber.reporting.svg import draw_svg

AGAIN_READING = (
    "As the first figure: on the dashed diagonal what was said came true; hollow points lie further off than chance"
    " explains; the small numbers count the answers in the bin."
)

HISTOGRAM_READING = (
    "How many answers state which confidence: plain bars were right, striped bars on top were wrong. A useful"
    " confidence spreads out, with stripes mostly on the left."
)


def reliability_reading(level: float) -> str:
    """How to read the diagram; `level` is that of the consistency bands."""
    return (
        "Answers are put in bins by the confidence they state. Each point shows, for one bin, what was said (across)"
        " and how often it was right (up). On the diagonal, what was said came true; below it the model claimed too"
        " much, above it too little. The grey bars show where a point may fall by chance alone in"
        f" {100 * level:.0f} of 100 tests even if the model were perfectly calibrated: filled points lie inside, hollow"
        " points outside. The small numbers count the answers in the bin."
    )


def inside_band(one: ReliabilityBin) -> bool:
    """Whether the bin's accuracy is what a calibrated model may show by chance."""
    return one.band_low <= one.accuracy <= one.band_high


def reliability_panel(name: str, title: str, bins: Sequence[ReliabilityBin]) -> Panel:
    """The reliability diagram of one method."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=AXIS.light, linewidth=1, linestyle=(0, (4, 3)))
        for one in bins:
            axes.bar(
                one.mean_confidence,
                one.band_high - one.band_low,
                bottom=one.band_low,
                width=0.055,
                color=BAND.light,
                edgecolor=AXIS.light,
                linewidth=0.5,
            )
        axes.plot([one.mean_confidence for one in bins], [one.accuracy for one in bins], color=BLUE.light, linewidth=1)
        for number, one in enumerate(bins):
            fill = BLUE.light if inside_band(one) else PAGE.light
            axes.plot(one.mean_confidence, one.accuracy, "o", markersize=7, color=BLUE.light, markerfacecolor=fill)
            axes.annotate(
                f"{one.count:,}",
                (one.mean_confidence, (-0.065, -0.115)[number % 2]),
                ha="center",
                va="center",
                fontsize=7.5,
                color=MUTED.light,
            )
        axes.set(xlim=(0, 1), ylim=(-0.15, 1.03), xlabel="Stated confidence (0 to 1)", ylabel="Share right (0 to 1)")
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])

    spoken = "; ".join(f"said {one.mean_confidence:.2f}, right {one.accuracy:.2f}, n {one.count}" for one in bins)
    return Panel(name, title, draw_svg(name, f"Reliability diagram of {title}. {spoken}.", draw, height=320))


def histogram_panel(name: str, title: str, bins: Sequence[HistogramBin]) -> Panel:
    """How many answers state which confidence, right and wrong."""

    def draw(axes: Axes) -> None:
        middle = [(one.low + one.high) / 2 for one in bins]
        width = 0.86 * (bins[0].high - bins[0].low)
        right, wrong = [one.right for one in bins], [one.wrong for one in bins]
        axes.bar(middle, right, width, color=BLUE.light, label="right")
        axes.bar(middle, wrong, width, bottom=right, color=ORANGE.light, hatch="////", linewidth=0, label="wrong")
        axes.set(xlim=(0, 1), xlabel="Stated confidence (0 to 1)", ylabel="Answers (count)")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left", labelcolor=INK.light)
        top = max(one.right + one.wrong for one in bins)
        axes.set_ylim(0, max(top, 1) * 1.22)

    right, wrong = sum(one.right for one in bins), sum(one.wrong for one in bins)
    spoken = f"Histogram of the confidences of {title}: {right} right answers, {wrong} wrong ones."
    return Panel(name, title, draw_svg(name, spoken, draw, height=240))
