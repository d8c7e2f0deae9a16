"""The review effort that a confidence saves: mistakes left against rows reviewed, as a figure and a table, compared
with reviewing in random order and by the label's token probability.

    work_section(method, scores)          # a Section, or None if the scores have no such curve
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from emocaliber.evaluation.curves import WorkCurve
from emocaliber.evaluation.scorecard import MethodScores, Scores
from emocaliber.reporting.document import Block, Cell, Figure, Panel, Paragraph, Section, Table
from emocaliber.reporting.svg import INK, draw_svg, series_styles
from emocaliber.reporting.tables import subset_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BY_CONFIDENCE, BY_PROBABILITY, AT_RANDOM = "least confident first", "lowest label probability first", "random order"
TARGETS = (0.2, 0.1, 0.05, 0.02, 0.01)
"""The target shares of mistakes in the finished set; those above the model's own error rate are left out."""
READING = (
    "People review some samples and correct them. The horizontal axis is the share of samples reviewed, the vertical"
    " axis the share of all labels that are still wrong. Samples without a usable answer come first. The farther a"
    " curve lies below the straight line of random order, the more work the confidence saves."
)


def work_section(method: MethodScores, subset: Scores) -> Section | None:
    """The figure and the table of one method; None if its scores have no such curve, or nothing is wrong."""
    curve = None if subset.curves is None else subset.curves.work
    if curve is None or curve.left[0] == 0:
        return None
    orders = _orders(curve)
    words = Paragraph(
        "The table assumes that one knows when few enough mistakes are left, which takes the true labels. Without them,"
        " `emocaliber review` says where to stop, with a guarantee, at the cost of somewhat more work; `--simulate`"
        " says how much more."
    )
    figure = Figure("Mistakes left after review", [_panel(method.name, subset, curve, orders)], READING)
    table = _table(curve, orders)
    blocks: list[Block] = [figure, table, words] if table else [figure]
    return Section("Work saved", blocks)


def _orders(curve: WorkCurve) -> dict[str, list[float]]:
    orders = {BY_CONFIDENCE: curve.left}
    if curve.by_probability is not None:
        orders[BY_PROBABILITY] = curve.by_probability
    return orders | {AT_RANDOM: curve.at_random}


def _panel(name: str, subset: Scores, curve: WorkCurve, orders: Mapping[str, list[float]]) -> Panel:
    def draw(axes: Axes) -> None:
        for (label, left), style in zip(orders.items(), series_styles(len(orders)), strict=True):
            axes.plot(
                [100 * share for share in curve.looked_at],
                [100 * share for share in left],
                color=style.colour,
                linestyle=style.dashes,
                marker=style.marker,
                markevery=0.19,
                label=label,
            )
        axes.set(xlim=(0, 101), xlabel="Reviewed (% of samples)", ylabel="Still wrong (% of samples)")
        axes.set_ylim(0, 105 * curve.left[0])
        axes.legend(loc="upper right", labelcolor=INK.light)

    half = int(np.argmin(np.abs(np.array(curve.looked_at) - 0.5)))
    description = "; ".join(
        f"{label}: {100 * left[half]:.1f} % wrong at half of the work" for label, left in orders.items()
    )
    title = f"{name}: {subset_title(subset)}"
    return Panel(
        "work-saved", title, draw_svg("work-saved", f"Mistakes left against work. {description}.", draw, height=270)
    )


def _table(curve: WorkCurve, orders: Mapping[str, list[float]]) -> Table | None:
    """The share to review for each target below the model's own error rate; None if there is no such target."""
    targets = [target for target in TARGETS if target < curve.left[0]]
    if not targets:
        return None
    rows = [
        [Cell(label), *(Cell(f"{100 * looked_at(curve.looked_at, left, target):.0f} %") for target in targets)]
        for label, left in orders.items()
    ]
    header = ["Order", *(f"to leave {100 * target:g} % wrong" for target in targets)]
    return Table("Share of the samples that must be reviewed", header, rows)


def looked_at(shares: list[float], left: list[float], target: float) -> float:
    """The smallest share of reviewed samples that leaves at most `target` wrong, interpolated linearly."""
    falling = np.maximum.accumulate(np.array(left)[::-1])  # from all looked at (0 wrong) backwards
    return float(np.interp(target, falling, np.array(shares)[::-1]))
