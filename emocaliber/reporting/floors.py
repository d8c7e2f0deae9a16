"""The table of post-hoc floors: the cross-fitted scores of every post-hoc map, the best first.

render_terminal(Document("Floors", [floors_table(floors, floors.scorecard())], []))
"""

from __future__ import annotations

from emocaliber.evaluation.floors import Floors
from emocaliber.evaluation.scorecard import Comparison, Difference, Scorecard
from emocaliber.reporting.document import Cell, Table
from emocaliber.reporting.tables import ABSENT, interval_text, metric_title, number, value_cell

METRICS: dict[str, tuple[str, ...]] = {
    "label": ("brier", "ece", "auroc"),
    "votes": ("agreement_brier", "agreement_ece"),
}
"""The columns by what the maps were fitted to, the Brier score first."""
COMPARED: dict[str, dict[str, str]] = {
    "label": {"brier": "Brier", "auroc": "AUROC"},
    "votes": {"agreement_brier": "Brier"},
}
"""The metrics of which the difference from the subject is shown, and their short names."""


def floors_table(floors: Floors, card: Scorecard) -> Table:
    """Each method's Brier score, ECE and AUROC, its paired differences from the subject in Brier score and AUROC, and
    the number of model calls per answer that it costs. `card` is the scorecard of the floors.

    Of maps fitted to votes, Brier score and ECE are those against the raters, without AUROC.
    """
    subject, questions = floors.subject, floors.questions
    methods = [method for method in card.methods if method.role == "method"]
    metrics, changes = METRICS[floors.target], COMPARED[floors.target]
    methods.sort(key=lambda method: method.find("all")[metrics[0]].value or 1.0)
    rows = []
    for method in methods:
        scores = method.find("all")
        change = [difference_cell(card, method.name, subject, metric) for metric in changes]
        calls = Cell(number(questions.get(method.name, 1.0), ".3g"))
        rows.append([Cell(method.name), *(value_cell(scores.headline.get(name)) for name in metrics), *change, calls])
    header = ["Floor", *map(metric_title, metrics), *(f"{name} − subject's" for name in changes.values()), "Questions"]
    return Table(f"{_caption(floors)}; the subject is {subject}; 95 % intervals", header, rows)


def _caption(floors: Floors) -> str:
    """The number of rows, what was fitted to if not the labels, and the mean cost of an answer with its signals, if
    recorded."""
    target = "" if floors.target == "label" else f" to {floors.fitted_to}"
    caption = f"Cross-fitted on {len(floors.rows):,} rows{target}"
    counted = [row for row in floors.rows if row.tokens is not None and row.questions is not None]
    if not counted:
        return caption
    questions, tokens = (sum(getattr(row, name) for row in counted) / len(counted) for name in ("questions", "tokens"))
    return f"{caption} (an answer and its signals: questions {questions:.3g}, generated tokens {tokens:.3g})"


def difference_cell(card: Scorecard, first: str, second: str, metric: str) -> Cell:
    """One metric of the first method minus that of the second, over all rows pooled."""
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
