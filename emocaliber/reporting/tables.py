"""Tables of a scorecard, one per subset of rows: values with intervals; reference methods and oracles are marked.

headline_table(card.methods, card.methods[0].find("all"), notes=True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import (
    Difference,
    Estimate,
    MethodScores,
    PublishedFigure,
    Scorecard,
    Scores,
)
from emocaliber.reporting.document import Cell, Table

COLUMNS = ("accuracy", "weighted_f1", "ece", "brier", "brier_skill", "auroc", "aurc")
"""The metrics of the short tables."""

AMBIGUITY = ("accuracy", "mean_confidence", "ece", "brier", "agreement", "agreement_brier", "agreement_ece")
DISAGREEMENT = ("distce", "entce", "entce_absolute", "rankcs", "entropy_rank_correlation")
SECOND_PANEL = tuple(name for name in METRICS if name.startswith("second_panel_"))
REASONS = tuple(name for name in METRICS if name.startswith("reason_"))
SETS = tuple(name for name in METRICS if name.startswith("set_"))
UNDEFINED = "undefined"
ABSENT = Cell("n/a")
_ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}


def display_name(method: MethodScores) -> str:
    """The method's name, marked "(oracle)" if it was fitted on the test rows."""
    return f"{method.name} (oracle)" if method.oracle else method.name


def subset_title(scores: Scores) -> str:
    """The subset's title: "Task “kaomoji” (n = 2,312)", "All rows, mean over 2 tasks (n = 2,500)"."""
    name = "All rows" if scores.kind == "all" else f"{scores.kind.capitalize()} “{scores.name}”"
    how = f", mean over {len(scores.tasks)} tasks" if scores.aggregation == "macro" else ""
    if not how and len(scores.tasks) > 1:
        how = f", {len(scores.tasks)} tasks pooled"
    return f"{name}{how} (n = {scores.n:,})"


def metric_title(name: str) -> str:
    """A metric's name with an arrow in the direction of improvement."""
    return METRICS[name].title + _ARROWS[METRICS[name].better]


def plain(value: Estimate | Difference | None) -> str:
    """A value with its interval as plain text, for scripts."""
    return "–" if value is None or value.value is None else str(value)


def value_cell(estimate: Estimate | None) -> Cell:
    """A value and its interval."""
    if estimate is None:
        return ABSENT
    if estimate.value is None:
        return Cell(UNDEFINED)
    return Cell(number(estimate.value, ".3f"), interval_text(estimate.low, estimate.high, ".3f"))


def interval_text(low: float | None, high: float | None, form: str) -> str:
    """ "0.450 to 0.550", or "" without bounds."""
    return "" if low is None or high is None else f"{number(low, form)} to {number(high, form)}"


def number(value: float, form: str) -> str:
    """A number with a typographic minus sign; without a sign if it rounds to zero, without decimals if it is a
    count."""
    if abs(value) > 1 and value == round(value):
        form = form.replace(".3f", ",.0f")
    text = f"{value:{form}}"
    return text.lstrip("+-") if not text.strip("+-0.") else text.replace("-", "−")


def scores_in(method: MethodScores, subset: Scores) -> Scores | None:
    """The method's scores in the same subset; None if it has no rows there."""
    for scores in method.scores:
        if (scores.kind, scores.name, scores.aggregation) == (subset.kind, subset.name, subset.aggregation):
            return scores
    return None


def headline_table(
    methods: Sequence[MethodScores],
    subset: Scores,
    columns: Sequence[str] = COLUMNS,
    *,
    notes: bool = False,
    answered: bool = True,
) -> Table:
    """A short list of metrics for each method in a subset. `notes` adds descriptions of the reference methods,
    `answered` the share of usable rows. Methods with none of the metrics are left out."""
    own = [pair for pair in _in_subset(methods, subset) if any(name in pair[1].headline for name in columns)]
    rows = [
        [
            Cell(display_name(method), method.note if notes else ""),
            *_values(scores.headline, columns),
            *([Cell(_answered(scores))] if answered else []),
        ]
        for method, scores in own
    ]
    references = frozenset(place for place, (method, _) in enumerate(own) if method.role == "reference")
    header = ["Method", *map(metric_title, columns), *(["Answered"] if answered else [])]
    return without_absent(Table(subset_title(subset), header, rows, references))


def without_absent(table: Table) -> Table:
    """The table without columns that apply to no row."""
    used = [place for place in range(len(table.header)) if any(row[place] != ABSENT for row in table.rows)]
    rows = [[row[place] for place in used] for row in table.rows]
    return Table(table.caption, [table.header[place] for place in used], rows, table.references)


def second_panel_table(
    methods: Sequence[MethodScores], subset: Scores, columns: Sequence[str] = SECOND_PANEL, *, notes: bool = False
) -> Table | None:
    """Each method's answers, and the human reference, scored against a second panel; None if there is none."""
    if not set(columns) & set(subset.headline):
        return None
    table = headline_table(methods, subset, columns, notes=notes, answered=False)
    header = [title.replace(" (2nd panel)", "") for title in table.header]
    return replace(table, header=header, caption=f"Against a second panel (rows without a tie). {table.caption}")


def trusted_table(methods: Sequence[MethodScores], subset: Scores) -> Table | None:
    """Trusted metrics at each rule's threshold; None if no threshold was chosen."""
    rows = []
    for method, scores in _in_subset(methods, subset):
        for at in scores.trusted:
            threshold = "none: trusts nothing" if at.threshold is None else f"{at.threshold:.3g}"
            threshold = "per task" if scores.aggregation == "macro" else threshold
            chosen = "calibration rows" if at.chosen_on == "calibration" else "the test rows (oracle)"
            measured = (at.coverage, at.precision, at.recall, at.f1, at.trust_all_f1, at.lift)
            row = [Cell(display_name(method)), Cell(at.rule), Cell(chosen), Cell(threshold)]
            rows.append([*row, *map(value_cell, measured)])
    header = ["Method", "Rule", "Chosen on", "Threshold", "Coverage", "Precision", "Recall", "F1",
              "F1 of trusting all", "Lift"]  # fmt: skip
    return Table(f"Trusted metrics. {subset_title(subset)}", header, rows) if rows else None


def cost_table(methods: Sequence[MethodScores]) -> Table | None:
    """How many questions an answer takes, and how many tokens are generated in them; None where no row says so."""
    rows = [
        [
            Cell(display_name(method)),
            *(ABSENT if n is None else Cell(f"{n:,.1f}") for n in (cost.questions, cost.tokens)),
        ]
        for method in methods
        if (cost := method.cost) is not None
    ]
    header = ["Method", "Questions", "Generated tokens"]
    return without_absent(Table("What an answer takes, on average", header, rows)) if rows else None


def states_table(methods: Sequence[MethodScores], subset: Scores) -> Table:
    """The number of rows in each state, by method; every row has exactly one state."""
    own = _in_subset(methods, subset)
    names = [name for name in dict.fromkeys(name for _, scores in own for name in scores.states) if name != "ok"]
    rows = [
        [
            Cell(display_name(method)),
            Cell(f"{scores.n:,}"),
            Cell(f"{scores.n_answered:,}", _answered(scores)),
            *(Cell(f"{scores.states.get(name, 0):,}") for name in names),
            Cell(f"{method.distinct_confidences:,}"),
        ]
        for method, scores in own
    ]
    header = ["Method", "Rows", "Usable", *names, "Distinct confidences"]
    return Table(f"Rows by status. {subset_title(subset)}", header, rows)


def answered_table(methods: Sequence[MethodScores], subset: Scores) -> Table | None:
    """The short list of metrics over answered rows only; None if every row is answered."""
    own = _in_subset(methods, subset)
    if all(scores.n_answered == scores.n for _, scores in own):
        return None
    rows = [
        [Cell(display_name(method)), *_values(scores.answered, COLUMNS), Cell(f"{scores.n_answered:,}")]
        for method, scores in own
    ]
    header = ["Method", *map(metric_title, COLUMNS), "Rows"]
    return without_absent(Table(f"Answered rows only. {subset_title(subset)}", header, rows))


def ambiguity_table(method: MethodScores) -> Table | None:
    """The metrics of every task with votes, then of each stratum of agreement; None if there are no votes."""
    voted = [scores for scores in method.scores if scores.kind == "task" and "agreement" in scores.headline]
    strata = [*voted, *(scores for scores in method.scores if scores.kind == "stratum")]
    rows = [
        [
            Cell(f"task “{scores.name}”" if scores.kind == "task" else scores.name, f"n = {scores.n:,}"),
            *_values(scores.headline, AMBIGUITY),
        ]
        for scores in strata
    ]
    header = ["Annotators", *map(metric_title, AMBIGUITY)]
    return without_absent(Table(f"By annotator agreement: {method.name}", header, rows)) if rows else None


def by_subset_table(method: MethodScores, caption: str, columns: Sequence[str]) -> Table | None:
    """These metrics of a method, one row per subset; None if it has none of them."""
    rows = [
        [Cell(subset_title(scores)), *_values(scores.headline, columns)]
        for scores in method.scores
        if set(columns) & set(scores.headline) and scores.aggregation == "pooled"
    ]
    header = ["Rows", *map(metric_title, columns)]
    return without_absent(Table(f"{caption}: {method.name}", header, rows)) if rows else None


def every_metric_table(methods: Sequence[MethodScores], subset: Scores) -> Table:
    """Every metric of the scorecard in a subset."""
    own = _in_subset(methods, subset)
    names = [name for name in METRICS if any(name in scores.headline for _, scores in own)]
    rows = [[Cell(metric_title(name)), *(value_cell(scores.headline.get(name)) for _, scores in own)] for name in names]
    header = ["Metric", *(display_name(method) for method, _ in own)]
    return Table(f"All metrics. {subset_title(subset)}", header, rows)


def published_table(card: Scorecard) -> Table | None:
    """Published results next to our own; None if there are none."""
    methods = [method for method in card.methods if method.role == "method"]
    rows = []
    for figure in card.published:
        title = METRICS[figure.metric].title if figure.metric in METRICS else figure.metric.replace("_", " ")
        ours = [value_cell(_measured(method, figure)) for method in methods]
        where = Cell(figure.name, figure.aggregation)
        rows.append([Cell(figure.system, figure.source), where, Cell(title), Cell(f"{figure.value:.4f}"), *ours])
    header = ["System", "Rows", "Metric", "Published", *(method.name for method in methods)]
    return Table("Published results and ours", header, rows) if rows else None


def _measured(method: MethodScores, published: PublishedFigure) -> Estimate | None:
    """Our own value of the same metric in the same subset."""
    where = (published.kind, published.name, published.aggregation)
    for scores in method.scores:
        if (scores.kind, scores.name, scores.aggregation) == where:
            if published.metric.startswith("trusted_"):
                name = published.metric.removeprefix("trusted_")
                return next((getattr(at, name) for at in scores.trusted if at.rule == "best F1"), None)
            return scores.headline.get(published.metric)
    return None


def _in_subset(methods: Sequence[MethodScores], subset: Scores) -> list[tuple[MethodScores, Scores]]:
    """The methods that have rows in the subset, with their scores there."""
    return [(method, scores) for method in methods if (scores := scores_in(method, subset)) is not None]


def _values(values: Mapping[str, Estimate], columns: Sequence[str]) -> list[Cell]:
    return [value_cell(values.get(name)) for name in columns]


def _answered(scores: Scores) -> str:
    return f"{100 * scores.n_answered / scores.n:.1f} %"
