"""The verbalization-loss table: the Brier score at each step from the best post-hoc map to the stated confidence.

verbalization_section(steps, "Kaomoji, n = 2,312")
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.verbalization import Step
from emocaliber.reporting.document import Cell, Paragraph, Section, Table
from emocaliber.reporting.tables import ABSENT, interval_text, number

WORDS = (
    "From the best post-hoc map of the model’s signals, selected and fitted on held-out calibration rows, to the"
    " confidence that it states. Each row’s difference from the row before is the loss, or gain, at that step; the last"
    " column accumulates them. Differences are paired, with 95 % cluster-robust intervals; negative is better."
)


def steps_table(steps: Sequence[Step], caption: str) -> Table:
    """The table, one row per step."""
    header = ["Step", "Brier ↓", "Accuracy ↑", "Lost here", "What it is", "Above the best floor"]
    rows = [
        [
            Cell(step.name),
            Cell(number(step.brier, ".4f")),
            Cell(number(step.accuracy, ".3f")),
            _difference(step.change),
            Cell(step.lost or "–"),
            _difference(step.above_floor),
        ]
        for step in steps
    ]
    return Table(caption, header, rows)


def verbalization_section(steps: Sequence[Step], caption: str) -> Section | None:
    """The section of a report; None without steps."""
    if not steps:
        return None
    return Section("From what it knows to what it says", [Paragraph(WORDS), steps_table(steps, caption)])


def _difference(found: tuple[float, float, float] | None) -> Cell:
    if found is None:
        return ABSENT
    value, low, high = found
    return Cell(number(value, "+.4f"), interval_text(low, high, "+.4f"))
