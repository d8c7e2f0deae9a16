"""Tables of a report, from a Scorecard: values with intervals, floors marked, what is missing said in words.

Not the tables of the terminal and of scorecard.md (see emocaliber.reporting.scorecard_tables).

    python -m pytest tests/reporting/test_tables.py
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import (
    Comparison,
    Difference,
    Estimate,
    MethodScores,
    PublishedFigure,
    Scorecard,
    Scores,
)
from emocaliber.reporting.document import Cell, Table
from emocaliber.reporting.scorecard_tables import COLUMNS
from emocaliber.reporting.words import NOTHING, verdict

COMPARED = ("accuracy", "ece", "brier", "auroc")
AMBIGUITY = ("accuracy", "mean_confidence", "ece", "brier", "agreement", "agreement_brier", "agreement_ece")
ABSENT = Cell("does not apply")
_ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}


def scope_title(scores: Scores) -> str:
    """Which rows: "Task kaomoji (n = 2,312)", "All tasks, mean over 2 tasks (n = 2,500)"."""
    name = "All tasks" if scores.kind == "all" else f"{scores.kind.capitalize()} “{scores.name}”"
    how = f", mean over {len(scores.tasks)} tasks" if scores.aggregation == "macro" else ""
    if not how and len(scores.tasks) > 1:
        how = ", all rows together"
    return f"{name}{how} (n = {scores.n:,})"


def metric_title(name: str) -> str:
    """A metric's name with an arrow to where it improves."""
    return METRICS[name].title + _ARROWS[METRICS[name].better]


def value_cell(one: Estimate | None) -> Cell:
    """A value and its interval."""
    if one is None:
        return ABSENT
    if one.value is None:
        return Cell(NOTHING)
    return Cell(number(one.value, ".3f"), _interval(one.low, one.high, ".3f"))


def difference_cell(one: Difference | None, metric: str) -> Cell:
    """A signed difference, its interval and what it means."""
    if one is None:
        return ABSENT
    if one.value is None:
        return Cell(NOTHING)
    interval = _interval(one.low, one.high, "+.3f")
    return Cell(number(one.value, "+.3f"), f"{interval}; {verdict(one, metric)}" if interval else "")


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f"{number(low, form)} to {number(high, form)}"


def number(value: float, form: str) -> str:
    """A number with a true minus sign, no sign where it rounds to zero, and no decimals where it is a count."""
    if abs(value) > 1 and value == round(value):
        form = form.replace(".3f", ",.0f")
    text = f"{value:{form}}"
    return text.lstrip("+-") if not text.strip("+-0.") else text.replace("-", "−")


def scores_in(method: MethodScores, scope: Scores) -> Scores | None:
    """The method's scores in the same scope; None where it has no rows there."""
    for scores in method.scores:
        if (scores.kind, scores.name, scores.aggregation) == (scope.kind, scope.name, scope.aggregation):
            return scores
    return None


def _answered(scores: Scores) -> str:
    return f"{100 * scores.n_answered / scores.n:.1f} %"


def headline_table(methods: Sequence[MethodScores], scope: Scores, *, notes: bool = False) -> Table:
    """The short list of metrics for each method and floor in one scope; `notes` says what each floor is."""
    own = [(method, scores) for method in methods if (scores := scores_in(method, scope)) is not None]
    rows = [
        [
            Cell(method.name, method.note if notes else ""),
            *(value_cell(scores.headline.get(name)) for name in COLUMNS),
            Cell(_answered(scores)),
        ]
        for method, scores in own
    ]
    floors = frozenset(number for number, (method, _) in enumerate(own) if method.role == "reference")
    header = ["Method", *(metric_title(name) for name in COLUMNS), "Answered"]
    return Table(scope_title(scope), header, rows, floors)


def difference_table(caption: str, comparisons: Sequence[Comparison]) -> Table:
    """Paired differences, first minus second."""
    header = ["First minus second", *(metric_title(name) for name in COMPARED), "n"]
    rows = [
        [
            Cell(one.first, f"minus {one.second}"),
            *(difference_cell(one.headline.get(name), name) for name in COMPARED),
            Cell(f"{one.n:,}"),
        ]
        for one in comparisons
    ]
    return Table(caption, header, rows)


def trusted_table(methods: Sequence[MethodScores], scope: Scores) -> Table | None:
    """Trusted metrics at each rule's threshold; None where no threshold was chosen."""
    rows = []
    for method in methods:
        scores = scores_in(method, scope)
        for one in scores.trusted if scores else []:
            threshold = Cell("none: trusts nothing" if one.threshold is None else f"{one.threshold:.3g}")
            chosen = Cell("calibration rows" if one.chosen_on == "calibration" else "the test rows: flatters")
            measured = (one.coverage, one.precision, one.recall, one.f1, one.trust_all_f1, one.lift)
            rows.append([Cell(method.name), Cell(one.rule), chosen, threshold, *map(value_cell, measured)])
    header = ["Method", "Rule", "Chosen on", "Threshold", "Coverage", "Precision", "Recall", "F1", "Floor", "Lift"]
    return Table(f"Trusted metrics. {scope_title(scope)}", header, rows) if rows else None


def states_table(methods: Sequence[MethodScores], scope: Scores) -> Table:
    """How many rows of each method are in which state; every row is in one."""
    own = [(method, scores) for method in methods if (scores := scores_in(method, scope)) is not None]
    names = list(dict.fromkeys(name for _, scores in own for name in scores.states))
    rows = [
        [
            Cell(method.name),
            Cell(f"{scores.n:,}"),
            Cell(f"{scores.n_answered:,}", _answered(scores)),
            *(Cell(f"{scores.states.get(name, 0):,}") for name in names if name != "ok"),
            Cell(f"{method.distinct_confidences:,}"),
        ]
        for method, scores in own
    ]
    header = ["Method", "Asked", "Usable", *(name for name in names if name != "ok"), "Distinct confidences"]
    return Table(f"Rows by state. {scope_title(scope)}", header, rows)


def answered_table(methods: Sequence[MethodScores], scope: Scores) -> Table | None:
    """The short list over answered rows alone; None where every row is answered."""
    own = [(method, scores) for method in methods if (scores := scores_in(method, scope)) is not None]
    if all(scores.n_answered == scores.n for _, scores in own):
        return None
    rows = [
        [
            Cell(method.name),
            *(value_cell(scores.answered.get(name)) for name in COLUMNS),
            Cell(f"{scores.n_answered:,}"),
        ]
        for method, scores in own
    ]
    header = ["Method", *(metric_title(name) for name in COLUMNS), "Rows"]
    return Table(f"The same over answered rows alone (flatters). {scope_title(scope)}", header, rows)


def ambiguity_table(method: MethodScores) -> Table | None:
    """The figures of every task with votes, then by how far the raters agree; None where there are no votes."""
    voted = [scores for scores in method.scores if scores.kind == "task" and "agreement" in scores.headline]
    strata = [*voted, *(scores for scores in method.scores if scores.kind == "stratum")]
    rows = [
        [
            Cell(f"task “{scores.name}”" if scores.kind == "task" else scores.name, f"n = {scores.n:,}"),
            *(value_cell(scores.headline.get(name)) for name in AMBIGUITY),
        ]
        for scores in strata
    ]
    header = ["Raters", *(metric_title(name) for name in AMBIGUITY)]
    return Table(f"By agreement of the raters: {method.name}", header, rows) if rows else None


def every_metric_table(methods: Sequence[MethodScores], scope: Scores) -> Table:
    """Every metric of the scorecard in one scope."""
    own = [(method, scores) for method in methods if (scores := scores_in(method, scope)) is not None]
    names = [name for name in METRICS if any(name in scores.headline for _, scores in own)]
    rows = [[Cell(metric_title(name)), *(value_cell(scores.headline.get(name)) for _, scores in own)] for name in names]
    return Table(f"Every metric. {scope_title(scope)}", ["Metric", *(method.name for method, _ in own)], rows)


def published_table(card: Scorecard) -> Table | None:
    """Figures from the literature beside ours; None where none were asked for."""
    methods = [method for method in card.methods if method.role == "method"]
    rows = []
    for one in card.published:
        title = METRICS[one.metric].title if one.metric in METRICS else one.metric.replace("_", " ")
        ours = [value_cell(_measured(method, one)) for method in methods]
        where = Cell(one.name, one.aggregation)
        rows.append([Cell(one.system, one.source), where, Cell(title), Cell(f"{one.value:.4f}"), *ours])
    header = ["System", "Rows", "Metric", "Published", *(method.name for method in methods)]
    return Table("Published figures beside ours", header, rows) if rows else None


def _measured(method: MethodScores, published: PublishedFigure) -> Estimate | None:
    """Our own figure of the same metric in the same scope."""
    where = (published.kind, published.name, published.aggregation)
    for scores in method.scores:
        if (scores.kind, scores.name, scores.aggregation) == where:
            if published.metric.startswith("trusted_"):
                name = published.metric.removeprefix("trusted_")
                return next((getattr(one, name) for one in scores.trusted if one.rule == "best F1"), None)
            return scores.headline.get(published.metric)
    return None
