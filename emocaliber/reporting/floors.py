"""The table of floors: what each post-hoc map reaches on rows that it was not fitted on, the best first.

render_terminal(Document("Floors", [floors_table(floors.scorecard(), floors.subject)], []))
"""

from __future__ import annotations

from emocaliber.evaluation.scorecard import Comparison, Difference, Scorecard
from emocaliber.reporting.document import Cell, Table
from emocaliber.reporting.tables import ABSENT, interval_text, metric_title, number, value_cell

METRICS = ("brier", "ece", "auroc")


def floors_table(card: Scorecard, subject: str) -> Table:
    """Each method's Brier score, ECE and AUROC, and how far its Brier score and AUROC are from the subject's, with
    paired intervals."""
    methods = [method for method in card.methods if method.role == "method"]
    methods.sort(key=lambda method: method.find("all")["brier"].value or 1.0)
    rows = []
    for method in methods:
        scores = method.find("all")
        change = [difference_cell(card, method.name, subject, metric) for metric in ("brier", "auroc")]
        rows.append([Cell(method.name), *(value_cell(scores.headline.get(name)) for name in METRICS), *change])
    header = ["Floor", *map(metric_title, METRICS), "Brier − subject's", "AUROC − subject's"]
    n = card.method(subject).find("all").n
    return Table(f"Cross-fitted on {n:,} rows; the subject is {subject}; 95 % intervals", header, rows)


def difference_cell(card: Scorecard, first: str, second: str, metric: str) -> Cell:
    """One metric of the first method minus the second's, over all rows together."""
    for comparison in card.comparisons:
        if (comparison.kind, comparison.aggregation) == ("all", "pooled") and {
            comparison.first,
            comparison.second,
        } == {first, second}:
            return _cell(comparison, metric, 1 if comparison.first == first else -1)
    return ABSENT


def _cell(comparison: Comparison, metric: str, sign: int) -> Cell:
    change: Difference | None = comparison.headline.get(metric)
    if change is None or change.value is None:
        return ABSENT
    bounds = [None if bound is None else sign * bound for bound in (change.low, change.high)]
    low, high = bounds if sign > 0 else bounds[::-1]
    return Cell(number(sign * change.value, "+.4f"), interval_text(low, high, "+.4f"))
