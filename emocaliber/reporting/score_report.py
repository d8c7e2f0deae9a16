"""The report of one or more methods: what `emocaliber score --out DIR` draws of its scorecard.

Not a measurement: everything numeric is in the Scorecard.

    emocaliber score first.jsonl second.jsonl --out results      writes results/report.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import MethodScores, Scorecard, Scores
from emocaliber.reporting.comparisons import against_constant, constant_of, find_comparison
from emocaliber.reporting.document import Block, Document, Paragraph, Section
from emocaliber.reporting.figures.reliability import AGAIN_READING, reliability_reading
from emocaliber.reporting.files import write_page
from emocaliber.reporting.glossary import how_to_read
from emocaliber.reporting.sections import (
    CURVES,
    ambiguity,
    differences,
    every_metric,
    headline_tiles,
    histogram_figure,
    how_made,
    missing,
    reliability_figure,
    selection,
    tasks_and_groups,
)
from emocaliber.reporting.tables import (
    COMPARED,
    headline_table,
    number,
    published_table,
    scope_title,
)
from emocaliber.reporting.words import against, calibrated, opening, summary, verdict


def write_score_report(scorecard: Scorecard, out_dir: Path) -> Path:
    """Write report.html into `out_dir`, and return its path. The same in Markdown is scorecard.md."""
    return write_page(score_document(scorecard), out_dir)


def score_document(card: Scorecard) -> Document:
    """What the report says. The first method is the subject; the others are compared with it."""
    methods = [one for one in card.methods if one.role == "method"]
    first = methods[0]
    scope = first.find("all")
    constant = constant_of(card, first)
    drawn = [*methods[: CURVES - 1], *([constant] if constant else [])]
    sections = [
        how_to_read(card.settings),
        _all_rows(card, first),
        _differences(card, scope),
        _reliability(methods),
        selection(methods, scope),
        tasks_and_groups(drawn, card.methods, [one for one in first.scores if one.kind == "all"]),
        ambiguity(methods),
        missing(methods, scope),
        _published(card),
        every_metric(card.methods, scope),
        how_made(card),
    ]
    named = card.suite or ", ".join(one.name for one in methods[:3])
    return Document(f"Scorecard: {named}", _opening(card, methods), [one for one in sections if one is not None])


def _opening(card: Scorecard, methods: Sequence[MethodScores]) -> list[Block]:
    first, others = methods[0], methods[1:]
    scope, constant = first.find("all"), constant_of(card, first)
    words, more = opening(scope, card.settings, f"“{first.name}”" if others else "The model"), summary(scope)
    compared = against_constant(card, first, scope)
    if constant and compared:
        more += " " + against(constant.find("all"), compared.headline.get("brier"), scope)
    shown: list[Block] = [Paragraph(words, lead=True), Paragraph(more.strip())]
    shown += [Paragraph(sentence) for other in others if (sentence := _beside(card, first, other))]
    reading = reliability_reading(card.settings.level)
    key = reliability_figure("key", "Does the stated confidence come true?", [(first.name, scope)], reading)
    return [*shown, headline_tiles(scope), key, Paragraph(calibrated(scope))]


def _beside(card: Scorecard, first: MethodScores, other: MethodScores) -> str:
    """One sentence on another method; "" where they share no sample."""
    found = find_comparison(card.comparisons, other.name, first.name, first.find("all"))
    if found is None:
        return ""
    parts = [
        f"{METRICS[name].title} {number(difference.value, '+.3f')} ({verdict(difference, name)})"
        for name in COMPARED
        if (difference := found.headline.get(name)) and difference.value is not None
    ]
    return f"“{other.name}” against “{first.name}”, on the {found.n:,} pictures that both answered: {', '.join(parts)}."


def _all_rows(card: Scorecard, first: MethodScores) -> Section:
    scopes = [one for one in first.scores if one.kind == "all"]
    words = Paragraph("Each method beside its floors. Arrows show where better is; intervals stand under the figures.")
    return Section("The figures", [words, *(headline_table(card.methods, one, notes=True) for one in scopes)])


def _differences(card: Scorecard, scope: Scores) -> Section | None:
    where = (scope.kind, scope.name, scope.aggregation)
    found = [one for one in card.comparisons if (one.kind, one.name, one.aggregation) == where]
    return differences("Paired differences", f"First minus second. {scope_title(scope)}", found)


def _reliability(methods: Sequence[MethodScores]) -> Section:
    panels = [(one.name, one.find("all")) for one in methods]
    groups = [
        (f"{method.name}, {scores.name}", scores)
        for method in methods
        for scores in method.scores
        if scores.kind == "group" and scores.aggregation == "pooled"
    ]
    blocks: list[Block] = []
    if len(methods) > 1:
        blocks.append(reliability_figure("reliability", "Stated and true, by method", panels, AGAIN_READING))
    if len(groups) > len(methods):
        blocks.append(reliability_figure("group", "Stated and true, by group of pictures", groups, AGAIN_READING))
    blocks.append(histogram_figure("histogram", "Which confidences are stated", panels))
    return Section("What it says about its confidence", blocks)


def _published(card: Scorecard) -> Section | None:
    table = published_table(card)
    return Section("Published figures", [table]) if table else None
