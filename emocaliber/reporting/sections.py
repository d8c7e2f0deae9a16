"""Sections that every report shares: selection, tasks and groups, what is missing, how it was made.

Not a report: `score_report` and `run_report` choose and order them. `methods` are always given in one order, so that a
method has the same colour, marker and line in every figure.

    python -m pytest tests/reporting/test_score_report.py
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Comparison, Curves, Estimate, MethodScores, Scorecard, Scores
from emocaliber.reporting.document import Block, Figure, Panel, Paragraph, Section, Tile, Tiles
from emocaliber.reporting.figures.reliability import (
    HISTOGRAM_READING,
    histogram_panel,
    reliability_panel,
)
from emocaliber.reporting.figures.scopes import SCOPES_READING, scopes_panel
from emocaliber.reporting.figures.selection import RISK_READING, TRUSTED_READING, risk_coverage_panel, trusted_panel
from emocaliber.reporting.tables import (
    ambiguity_table,
    answered_table,
    difference_table,
    every_metric_table,
    headline_table,
    scope_title,
    scores_in,
    states_table,
    trusted_table,
    value_cell,
)

CURVES = 6
"""At most this many methods in one figure: more cannot be told apart."""

_INTERVALS = {"bca": "BCa", "percentile": "percentile"}

SCOPE_METRICS = ("accuracy", "ece", "brier")


def headline_tiles(scores: Scores) -> Tiles:
    """The four figures to remember."""
    said = {
        "accuracy": ("Right", "share of pictures labelled correctly"),
        "ece": ("Confidence misses by", "expected calibration error; 0 is perfect"),
        "brier": ("Brier score", "squared error of the confidence; 0 is perfect"),
        "auroc": ("Surer when right", "AUROC; 0.5 is guessing, 1 perfect"),
    }
    tiles = []
    for name, (label, meaning) in said.items():
        cell = value_cell(scores.headline.get(name))
        tiles.append(Tile(label, cell.text, f"{meaning}; interval {cell.detail}" if cell.detail else meaning))
    return Tiles(tiles)


def reliability_figure(prefix: str, title: str, panels: Sequence[tuple[str, Scores]], reading: str) -> Figure:
    """Reliability diagrams side by side, each under its heading."""
    drawn = [
        reliability_panel(f"{prefix}-{number}", _captioned(heading, scores), _curves(scores).reliability)
        for number, (heading, scores) in enumerate(panels)
    ]
    return Figure(title, drawn, reading)


def histogram_figure(prefix: str, title: str, panels: Sequence[tuple[str, Scores]]) -> Figure:
    """Histograms of confidence side by side."""
    drawn = [
        histogram_panel(f"{prefix}-{number}", f"{heading} (n = {scores.n_answered:,})", _curves(scores).histogram)
        for number, (heading, scores) in enumerate(panels)
    ]
    return Figure(title, drawn, HISTOGRAM_READING)


def selection(methods: Sequence[MethodScores], scope: Scores) -> Section:
    """Answering only where sure: risk–coverage, trusted curves and thresholds."""
    own = [(method, scores) for method in methods if (scores := scores_in(method, scope)) and scores.curves]
    curves = {method.name: _curves(scores).risk_coverage for method, scores in own[:CURVES]}
    risk = risk_coverage_panel("risk-coverage", scope_title(scope), curves)
    trusted = [
        trusted_panel(
            f"trusted-{number}", f"{method.name} (n = {scores.n:,})", _curves(scores).trusted, *_thresholds(scores)
        )
        for number, (method, scores) in enumerate(own[:CURVES])
    ]
    blocks: list[Block] = [
        Figure("Error rate when only the surest pictures are answered", [risk], RISK_READING),
        Figure("Trusting answers from a threshold up", trusted, TRUSTED_READING),
    ]
    table = trusted_table([method for method, _ in own], scope)
    blocks.append(table or Paragraph("No threshold was chosen: that needs predictions on calibration rows."))
    return Section("Answering only where sure", blocks)


def tasks_and_groups(drawn: Sequence[MethodScores], listed: Sequence[MethodScores], above: Sequence[Scores]) -> Section:
    """Every task and group: a figure for each metric, and a table for each scope that does not stand `above`."""
    scopes = [one for one in listed[0].scores if one.kind in {"task", "group"} and one.aggregation == "pooled"]
    panels = [panel for name in SCOPE_METRICS if (panel := _scope_panel(name, drawn[:CURVES], scopes))]
    seen = {(one.kind, one.name, one.aggregation) for one in above}
    shown = [
        one for one in listed[0].scores if one.kind != "stratum" and (one.kind, one.name, one.aggregation) not in seen
    ]
    blocks: list[Block] = [Figure("Each task and group of pictures", panels, SCOPES_READING)] if panels else []
    blocks += [headline_table(listed, one) for one in shown]
    if not blocks:
        blocks = [Paragraph("The rows are of one task and name no group: there is nothing to tell apart.")]
    return Section("By task and group", blocks)


def ambiguity(methods: Sequence[MethodScores]) -> Section | None:
    """The figures by how far the raters agree; None where the rows have no votes."""
    tables = [table for one in methods if (table := ambiguity_table(one))]
    words = Paragraph(
        "Where several people labelled a picture, agreement is the share of them who chose the label that the model"
        " named. A model may be calibrated on the majority’s label or on the next person’s, but not on both."
    )
    return Section("Where people disagree", [words, *tables]) if tables else None


def differences(title: str, caption: str, comparisons: Sequence[Comparison]) -> Section | None:
    """Paired differences; None where there are none."""
    words = Paragraph(
        "The same pictures judged twice, so that hard pictures do not blur the difference. Below each value stands its"
        " interval, and whether the first is better, worse, or not clearly different."
    )
    return Section(title, [words, difference_table(caption, comparisons)]) if comparisons else None


def missing(methods: Sequence[MethodScores], scope: Scores) -> Section:
    """What could not be read, and the figures without it."""
    own = [scores for method in methods if (scores := scores_in(method, scope)) is not None]
    refused = sum(scores.n - scores.n_answered for scores in own)
    said = (
        "Every answer could be read: nothing is missing."
        if not refused
        else (
            "Not every picture got a usable answer. The figures above count what is missing as wrong; the table of"
            " answered rows leaves it out, which flatters a method that refuses hard pictures."
        )
    )
    table = answered_table(methods, scope)
    return Section("What is missing", [Paragraph(said), states_table(methods, scope), *([table] if table else [])])


def every_metric(methods: Sequence[MethodScores], scope: Scores) -> Section:
    """The long table."""
    return Section("Every metric", [every_metric_table(methods, scope)], folded=True)


def how_made(card: Scorecard, notes: Sequence[str] = ()) -> Section:
    """Settings of the measurement, and what a reader must know before trusting it."""
    one = card.settings
    kind = f"{100 * one.level:.0f} % {_INTERVALS[one.interval]} bootstrap"
    words = (
        f"Intervals: {kind}, {one.replicates:,} replicates by {one.unit}, seed {one.seed}. ECE: {one.bins} bins of"
        f" equal width, closed on the {one.edges}. Log score clipped at {one.log_clip:g}. Coverage at risk"
        f" {one.risk:g}, risk at coverage {one.coverage:g}. The same figures, for machines, are in scorecard.json"
        " beside this page."
    )
    said = [Paragraph(note) for note in (*card.notes, *notes)]
    return Section("How these figures were made", [Paragraph(words), *said])


def _captioned(heading: str, scores: Scores) -> str:
    ece = scores.headline["ece"].value
    return f"{heading} (n = {scores.n_answered:,}, ECE {'not defined' if ece is None else f'{ece:.3f}'})"


def _curves(scores: Scores) -> Curves:
    if scores.curves is None:
        raise ValueError(f"scores of {scores.kind} {scores.name!r}, {scores.aggregation}, hold no curves to draw")
    return scores.curves


def _thresholds(scores: Scores) -> tuple[list[float], float | None]:
    """Chosen thresholds, and the F1 of trusting everything."""
    found = [one.threshold for one in scores.trusted if one.threshold is not None]
    return found, scores.trusted[0].trust_all_f1.value if scores.trusted else None


def _scope_panel(metric: str, methods: Sequence[MethodScores], scopes: Sequence[Scores]) -> Panel | None:
    values: dict[str, dict[str, Estimate]] = {}
    for scope in scopes:
        own = {
            method.name: scores.headline[metric]
            for method in methods
            if (scores := scores_in(method, scope)) and metric in scores.headline
        }
        values[scope_title(scope)] = own
    if not values:
        return None
    better = f"{METRICS[metric].better} is better"
    return scopes_panel(
        f"scopes-{metric}", METRICS[metric].title, f"{METRICS[metric].title} (0 to 1, {better})", values
    )
