"""A scorecard as text: the Markdown file and the table in the terminal.

Not the HTML report (see emocaliber.reporting). Every table names its scope and whether it is pooled or macro, and
shows the floors beside the methods.

    emocaliber score predictions.jsonl --out results      writes results/scorecard.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Difference, Estimate, MethodScores, Scorecard, Scores

COLUMNS = ("accuracy", "weighted_f1", "ece", "brier", "brier_skill", "auroc", "aurc")
"""The metrics of the short tables; the long one has all."""

TERMINAL_COLUMNS = ("accuracy", "ece", "brier", "brier_skill", "auroc")

NOTHING = "–"


def markdown(card: Scorecard) -> str:
    """The whole scorecard in Markdown."""
    sections = [
        _heading(card),
        *(_scope_section(card, scores) for scores in _scopes(card)),
        _every_metric(card),
        _trusted(card),
        _states(card),
        _comparisons(card),
        _published(card),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def terminal(card: Scorecard) -> Iterator[Table]:
    """Short tables for the terminal: all rows and each group, pooled and macro."""
    for scores in _scopes(card):
        if scores.kind in {"task", "stratum"}:
            continue
        table = Table(title=_title(scores), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("", overflow="fold")
        for name in TERMINAL_COLUMNS:
            table.add_column(METRICS[name].title, justify="right", no_wrap=True)
        for method in card.methods:
            if (own := _same(method, scores)) is not None:
                table.add_row(method.name, *(_short(own.headline.get(name)) for name in TERMINAL_COLUMNS))
        yield table


def _short(one: Estimate | None) -> str:
    """A value over its interval, both without the leading zero."""
    if one is None or one.value is None:
        return NOTHING
    value = _decimals(one.value)
    return value if one.low is None or one.high is None else f"{value}\n{_decimals(one.low)}…{_decimals(one.high)}"


def _decimals(value: float) -> str:
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else text


def _heading(card: Scorecard) -> str:
    one = card.settings
    lines = [
        f"# Scorecard{': ' + card.suite if card.suite else ''}",
        "",
        f"Figures are fractions with {one.level:.0%} {one.interval} bootstrap intervals ({one.replicates:,} replicates"
        f" by {one.unit}, seed {one.seed}). Rows without a usable label or confidence count as wrong with the worst"
        " score; figures of the answered rows alone are marked so."
        f" ECE: {one.bins} bins of equal width, closed on the {one.edges}. Log score clipped at {one.log_clip:g}."
        f" Coverage at risk {one.risk:g}, risk at coverage {one.coverage:g}. *Floors* are in italics.",
    ]
    return "\n".join(lines + ([""] + [f"- {note}" for note in card.notes] if card.notes else []))


def _scopes(card: Scorecard) -> list[Scores]:
    return card.methods[0].scores


def _title(scores: Scores) -> str:
    name = "All tasks" if scores.kind == "all" else f"{scores.kind.capitalize()} {scores.name}"
    how = f"macro over {len(scores.tasks)} tasks" if scores.aggregation == "macro" else "pooled"
    return f"{name}, {how} (n = {scores.n:,})"


def _same(method: MethodScores, scores: Scores) -> Scores | None:
    try:
        return method.find(scores.kind, scores.name, scores.aggregation)
    except KeyError:
        return None


def _scope_section(card: Scorecard, scores: Scores) -> str:
    tables = [f"## {_title(scores)}", _table(_short_table(card, scores))]
    if any(own.n_answered < own.n for method in card.methods if (own := _same(method, scores))):
        tables += ["Answered rows only:", _table(_short_table(card, scores, answered=True))]
    return "\n\n".join(tables)


def _short_table(card: Scorecard, scores: Scores, *, answered: bool = False) -> list[list[str]]:
    rows = [["Method", *(METRICS[name].title for name in COLUMNS), "Answered"]]
    for method in card.methods:
        own = _same(method, scores)
        if own is not None:
            values = own.answered if answered else own.headline
            figures = [figure(values.get(name)) for name in COLUMNS]
            rows.append([_name(method), *figures, f"{own.n_answered / own.n:.1%}"])
    return rows


def _every_metric(card: Scorecard) -> str:
    parts = ["## Every metric, all tasks, pooled", _metric_table(card, answered=False)]
    if any(method.find("all").n_answered < method.find("all").n for method in card.methods):
        parts += ["Answered rows only:", _metric_table(card, answered=True)]
    return "\n\n".join(parts)


def _metric_table(card: Scorecard, *, answered: bool) -> str:
    every = [method.find("all") for method in card.methods]
    found = [scores.answered if answered else scores.headline for scores in every]
    names = [name for name in METRICS if any(name in values for values in found)]
    arrow = {"higher": " ↑", "lower": " ↓", "none": ""}
    rows = [["Metric", *(_name(method) for method in card.methods)]]
    for name in names:
        title = METRICS[name].title + arrow[METRICS[name].better]
        rows.append([title, *(figure(values.get(name)) for values in found)])
    return _table(rows)


def _trusted(card: Scorecard) -> str:
    header = [
        "Method",
        "Rows",
        "Rule",
        "Chosen on",
        "Threshold",
        "Coverage",
        "Precision",
        "Recall",
        "F1",
        "Floor",
        "Lift",
    ]
    rows = [header]
    for method in card.methods:
        for scores in method.scores:
            if scores.kind == "stratum":
                continue
            for one in scores.trusted:
                threshold = "per task" if scores.aggregation == "macro" else NOTHING
                if one.threshold is not None:
                    threshold = f"{one.threshold:.3g}"
                measured = (one.coverage, one.precision, one.recall, one.f1, one.trust_all_f1, one.lift)
                where = f"{scores.name}, {scores.aggregation}"
                rows.append([_name(method), where, one.rule, _chosen(one.chosen_on), threshold, *map(figure, measured)])
    if len(rows) == 1:
        return ""
    about = "An answer is trusted from the threshold up. The floor is trusting everything, 2A/(1+A)."
    return f"## Trusted metrics\n\n{about}\n\n{_table(rows)}"


def _chosen(on: str) -> str:
    return "calibration" if on == "calibration" else "**the test rows**"


def _states(card: Scorecard) -> str:
    methods = [method for method in card.methods if method.role == "method"]
    names = list(dict.fromkeys(name for method in methods for name in method.find("all").states))
    rows = [["Method", *names]]
    for method in methods:
        counts = method.find("all").states
        rows.append([_name(method), *(f"{counts.get(name, 0):,}" for name in names)])
    return f"## Rows by state\n\n{_table(rows)}"


def _comparisons(card: Scorecard) -> str:
    names = [name for name in COLUMNS if any(name in one.headline for one in card.comparisons)]
    rows = [["First", "Second", "Rows", "n", *(METRICS[name].title for name in names)]]
    for one in card.comparisons:
        values = [difference(one.headline.get(name)) for name in names]
        rows.append([one.first, one.second, f"{one.name}, {one.aggregation}", f"{one.n:,}", *values])
    if len(rows) == 1:
        return ""
    return f"## Paired differences, first minus second\n\n{_table(rows)}"


def _published(card: Scorecard) -> str:
    if not card.published:
        return ""
    rows = [["System", "Rows", "Metric", "Published", *(method.name for method in card.methods)]]
    for one in card.published:
        ours = [_ours(method, one.kind, one.name, one.aggregation, one.metric) for method in card.methods]
        title = METRICS[one.metric].title if one.metric in METRICS else one.metric.replace("_", " ")
        rows.append([one.system, f"{one.name}, {one.aggregation}", title, f"{one.value:.4f}", *ours])
    sources = dict.fromkeys(f"- {one.system}: {one.source}" for one in card.published)
    return "\n\n".join(["## Published figures beside ours", _table(rows), "\n".join(sources)])


def _ours(method: MethodScores, kind: str, name: str, aggregation: str, metric: str) -> str:
    for scores in method.scores:
        if (scores.kind, scores.name, scores.aggregation) == (kind, name, aggregation):
            if metric.startswith("trusted_"):
                best = [
                    getattr(one, metric.removeprefix("trusted_")) for one in scores.trusted if one.rule == "best F1"
                ]
                return figure(best[0] if best else None)
            return figure(scores.headline.get(metric))
    return NOTHING


def figure(one: Estimate | None) -> str:
    """A value with its interval, or a dash where it is undefined or does not apply."""
    if one is None or one.value is None:
        return NOTHING
    bounds = f" [{one.low:.3f}, {one.high:.3f}]" if one.low is not None and one.high is not None else ""
    return f"{one.value:.3f}{bounds}"


def difference(one: Difference | None) -> str:
    """A signed difference with its interval and p-value."""
    if one is None or one.value is None:
        return NOTHING
    bounds = f" [{one.low:+.3f}, {one.high:+.3f}]" if one.low is not None and one.high is not None else ""
    p = f", p = {one.p_value:.3f}" if one.p_value is not None else ""
    return f"{one.value:+.3f}{bounds}{p}"


def _name(method: MethodScores) -> str:
    return f"*{method.name}*" if method.role == "reference" else method.name


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
