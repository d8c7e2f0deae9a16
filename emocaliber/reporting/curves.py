"""Figures: reliability diagram, confidence histogram, risk–coverage curve, trusted metrics, and training curves.

Each function draws one panel from the curves of a scorecard (or of a stage's log); the *_READING texts explain it.

    reliability_panel("key", "model", scores.curves.reliability).svg
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emocaliber.evaluation.curves import HistogramBin, ReliabilityBin, RiskCoverage, TrustedCurve
from emocaliber.reporting.document import Panel
from emocaliber.reporting.svg import AXIS, BAND, BLUE, INK, MUTED, ORANGE, PAGE, draw_svg, series_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AGAIN_READING = (
    "Read it like the first figure: on the dashed diagonal, accuracy equals confidence; hollow points lie farther from"
    " it than sampling variation explains; the small numbers are the answers per bin."
)

HISTOGRAM_READING = (
    "The number of answers at each confidence: correct answers as plain bars, wrong ones as striped bars on top. A"
    " useful confidence is spread out, with the stripes mostly on the left."
)

RISK_READING = (
    "Suppose that only the most confident answers are given. The horizontal axis is the share of samples that are"
    " answered (coverage), the vertical axis the share of those answers that are wrong (risk). Lower is better, and"
    " with a useful confidence the curve falls towards the left. At a coverage of 100 % the risk is the error rate."
    " Samples without a usable answer count as wrong and rank first, so a curve with such samples starts at 100 %."
)

TRUSTED_READING = (
    "An answer is trusted if its confidence reaches the threshold (horizontal axis). Precision is the share of trusted"
    " answers that are correct, recall the share of correct answers that are trusted, and F1 their harmonic mean. The"
    " dotted line is the F1 of trusting every answer: only values above it are a gain. Vertical lines mark the chosen"
    " thresholds."
)

TRAINING_READING = (
    "The horizontal axis is the optimizer step. Lower is better for a loss and for a Brier score. Held-out curves are"
    " computed on samples that the stage does not train on; a vertical line marks the selected step."
)

POINTS = 160
"""At most this many points of a curve are drawn, evenly spread; more would not be visible."""


def reliability_reading(level: float) -> str:
    """How to read a reliability diagram; `level` is that of the consistency bands."""
    return (
        "Answers are binned by confidence. Each point shows a bin’s mean confidence (horizontal) and accuracy"
        " (vertical). On the diagonal the two are equal; below it the model is overconfident, above it underconfident."
        " The grey bars are consistency bands: if the model were perfectly calibrated, a point would fall inside in"
        f" {100 * level:.0f} of 100 test sets. Filled points lie inside their band, hollow points outside. The small"
        " numbers are the answers per bin."
    )


def inside_band(point: ReliabilityBin) -> bool:
    """Whether the bin's accuracy lies within the consistency band."""
    return point.band_low <= point.accuracy <= point.band_high


def reliability_panel(name: str, title: str, bins: Sequence[ReliabilityBin]) -> Panel:
    """The reliability diagram of one method."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=AXIS.light, linewidth=1, linestyle=(0, (4, 3)))
        for point in bins:
            axes.bar(
                point.mean_confidence,
                point.band_high - point.band_low,
                bottom=point.band_low,
                width=0.055,
                color=BAND.light,
                edgecolor=AXIS.light,
                linewidth=0.5,
            )
        axes.plot(
            [point.mean_confidence for point in bins], [point.accuracy for point in bins], color=BLUE.light, linewidth=1
        )
        for number, point in enumerate(bins):
            fill = BLUE.light if inside_band(point) else PAGE.light
            axes.plot(point.mean_confidence, point.accuracy, "o", markersize=7, color=BLUE.light, markerfacecolor=fill)
            axes.annotate(
                f"{point.count:,}",
                (point.mean_confidence, (-0.065, -0.115)[number % 2]),
                ha="center",
                va="center",
                fontsize=7.5,
                color=MUTED.light,
            )
        axes.set(xlim=(0, 1), ylim=(-0.15, 1.03), xlabel="Confidence (0 to 1)", ylabel="Accuracy (0 to 1)")
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])

    description = "; ".join(
        f"confidence {point.mean_confidence:.2f}, accuracy {point.accuracy:.2f}, n {point.count}" for point in bins
    )
    return Panel(name, title, draw_svg(name, f"Reliability diagram of {title}. {description}.", draw, height=320))


def histogram_panel(name: str, title: str, bins: Sequence[HistogramBin]) -> Panel:
    """The confidence histogram of one method, correct and wrong answers stacked."""

    def draw(axes: Axes) -> None:
        middle = [(point.low + point.high) / 2 for point in bins]
        width = 0.86 * (bins[0].high - bins[0].low)
        right, wrong = [point.right for point in bins], [point.wrong for point in bins]
        axes.bar(middle, right, width, color=BLUE.light, label="correct")
        axes.bar(middle, wrong, width, bottom=right, color=ORANGE.light, hatch="////", linewidth=0, label="wrong")
        axes.set(xlim=(0, 1), xlabel="Stated confidence (0 to 1)", ylabel="Answers (count)")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left", labelcolor=INK.light)
        top = max(point.right + point.wrong for point in bins)
        axes.set_ylim(0, max(top, 1) * 1.22)

    right, wrong = sum(point.right for point in bins), sum(point.wrong for point in bins)
    description = f"Histogram of the confidences of {title}: {right} correct answers, {wrong} wrong ones."
    return Panel(name, title, draw_svg(name, description, draw, height=240))


def risk_coverage_panel(name: str, title: str, curves: Mapping[str, RiskCoverage]) -> Panel:
    """Selective risk against coverage of up to six methods, in per cent."""

    def draw(axes: Axes) -> None:
        for (label, curve), style in zip(curves.items(), series_styles(len(curves)), strict=True):
            drawn = thinned(len(curve.coverage))
            axes.plot(
                [100 * curve.coverage[index] for index in drawn],
                [100 * curve.risk[index] for index in drawn],
                color=style.colour,
                linestyle=style.dashes,
                marker=style.marker,
                markevery=0.19,
                label=shortened(label),
            )
        axes.set(xlim=(0, 101), xlabel="Coverage (% of samples answered)", ylabel="Risk (% wrong among them)")
        axes.set_ylim(0, _top(curves))
        axes.legend(loc="upper left", bbox_to_anchor=(-0.12, -0.17), labelcolor=INK.light, borderaxespad=0)

    below = 62 + 15.5 * len(curves)
    description = "; ".join(
        f"{label} ends at {100 * curve.risk[-1]:.1f} % wrong" for label, curve in curves.items() if curve.risk
    )
    svg = draw_svg(name, f"Risk against coverage: {description}.", draw, height=250 + below, below=below)
    return Panel(name, title, svg)


def trusted_panel(
    name: str, title: str, curve: TrustedCurve, chosen: Sequence[float], trust_all: float | None
) -> Panel:
    """Trusted precision, recall and F1 against the threshold; `trust_all` is the F1 of trusting every answer."""

    def draw(axes: Axes) -> None:
        series: list[tuple[str, Sequence[float | None]]] = [
            ("precision", curve.precision),
            ("recall", curve.recall),
            ("F1", curve.f1),
        ]
        for (label, values), style in zip(series, series_styles(3), strict=True):
            defined = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
            axes.plot(
                curve.threshold,
                defined,
                color=style.colour,
                linestyle=style.dashes,
                marker=style.marker,
                markevery=max(1, len(curve.threshold) // 8),
                label=label,
            )
        if trust_all is not None:
            axes.axhline(trust_all, color=MUTED.light, linestyle=":", linewidth=1.6, label="F1 of trusting everything")
        for threshold in chosen:
            axes.axvline(threshold, color=AXIS.light, linewidth=0.8, linestyle=(0, (7, 3)))
        axes.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel="Threshold (confidence, 0 to 1)", ylabel="Score (0 to 1)")
        axes.legend(loc="upper left", bbox_to_anchor=(-0.12, -0.2), ncols=2, labelcolor=INK.light, borderaxespad=0)

    best = max(curve.f1, default=0.0)
    description = f"Trusted precision, recall and F1 of {title} against the threshold; the greatest F1 is {best:.2f}."
    return Panel(name, title, draw_svg(name, description, draw, height=310, below=92))


def _top(curves: Mapping[str, RiskCoverage]) -> float:
    """The upper limit of the risk axis, in per cent, that fits every curve from a coverage of 20 % on; below that, the
    risk of a few samples varies too much."""
    shown = [
        risk for curve in curves.values() for at, risk in zip(curve.coverage, curve.risk, strict=True) if at >= 0.2
    ]
    return min(102.0, max(5.0, 118 * max(shown, default=1.0)))


def training_panel(
    name: str, title: str, quantity: str, curve: Sequence[tuple[int, float]], selected: int | None
) -> Panel:
    """One curve of (step, value); `selected` is the step whose adapter was selected, None for the last."""
    steps, values = [step for step, _ in curve], [value for _, value in curve]

    def draw(axes: Axes) -> None:
        indices = thinned(len(steps))
        axes.plot(
            [steps[index] for index in indices],
            [values[index] for index in indices],
            color=BLUE.light,
            marker="o",
            markersize=3.5,
        )
        if selected is not None:
            axes.axvline(
                selected, color=MUTED.light, linestyle=(0, (4, 3)), linewidth=1.2, label=f"selected: step {selected}"
            )
            axes.legend(loc="upper right", labelcolor=INK.light)
        axes.set(xlabel="Step (count)", ylabel=f"{quantity[:1].upper()}{quantity[1:]}")
        axes.margins(y=0.12)

    description = f"{title}: from {values[0]:.4g} at step {steps[0]} to {values[-1]:.4g} at step {steps[-1]}."
    return Panel(name, title, draw_svg(name, description, draw, height=230, left=58))


def thinned(number: int) -> list[int]:
    """At most POINTS of this many positions, the ends always among them."""
    return [int(index) for index in np.unique(np.linspace(0, number - 1, min(POINTS, number)).round())]


def shortened(label: str, length: int = 46) -> str:
    """The label, shortened in the middle if it is too long to fit under a panel."""
    half = (length - 1) // 2
    return label if len(label) <= length else f"{label[:half]}…{label[-half:]}"
