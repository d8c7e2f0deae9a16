"""Training curves: one quantity of one stage against its steps.

python -m pytest tests/reporting/test_figures.py
"""

from __future__ import annotations

from matplotlib.axes import Axes

from emocaliber.reporting.document import Panel
from emocaliber.reporting.figures.selection import thinned
from emocaliber.reporting.palette import BLUE, INK, MUTED
from emocaliber.reporting.run_summary import Curve
from emocaliber.reporting.svg import draw_svg

TRAINING_READING = (
    "How each stage learned: across, the optimizer's steps; up, what was measured. Lower is better for a loss and for a"
    " Brier score. The held-out curve is measured on pictures the stage does not train on; a vertical line marks the"
    " step that was kept."
)


def training_panel(name: str, title: str, quantity: str, curve: Curve, kept: int | None) -> Panel:
    """One curve; `kept` is the step whose adapter was kept, None for the last."""
    steps, values = [step for step, _ in curve], [value for _, value in curve]

    def draw(axes: Axes) -> None:
        chosen = thinned(len(steps))
        axes.plot(
            [steps[index] for index in chosen],
            [values[index] for index in chosen],
            color=BLUE.light,
            marker="o",
            markersize=3.5,
        )
        if kept is not None:
            axes.axvline(kept, color=MUTED.light, linestyle=(0, (4, 3)), linewidth=1.2, label=f"kept: step {kept}")
            axes.legend(loc="upper right", labelcolor=INK.light)
        axes.set(xlabel="Step (count)", ylabel=f"{quantity[:1].upper()}{quantity[1:]}")
        axes.margins(y=0.12)

    spoken = f"{title}: from {values[0]:.4g} at step {steps[0]} to {values[-1]:.4g} at step {steps[-1]}."
    return Panel(name, title, draw_svg(name, spoken, draw, height=230, left=58))
