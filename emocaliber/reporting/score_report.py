"""The report of a scorecard that `emocaliber score` prints and writes.

emocaliber score first.jsonl second.jsonl --out results      writes scorecard.json, scorecard.md and report.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emocaliber.core.files import write_atomically
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import MethodScores, Scorecard, Scores
from emocaliber.reporting.audits import BRIEF, audit_blocks, audit_section
from emocaliber.reporting.comparisons import COMPARED, against_constant, constant_of, find_comparison, verdict
from emocaliber.reporting.curves import AGAIN_READING, reliability_reading
from emocaliber.reporting.document import Block, Document, Figure, Paragraph, Section
from emocaliber.reporting.pages import render_markdown, write_page
from emocaliber.reporting.sections import (
    CURVES,
    ambiguity_section,
    differences_section,
    every_metric_section,
    headline_tiles,
    histogram_figure,
    reasons_section,
    reliability_figure,
    second_panel_section,
    selection_section,
    sets_section,
    settings_section,
    task_and_group_sections,
    unusable_section,
)
from emocaliber.reporting.tables import (
    SECOND_PANEL,
    cost_table,
    display_name,
    headline_table,
    number,
    published_table,
    second_panel_table,
    subset_title,
)
from emocaliber.reporting.words import (
    accuracy_sentences,
    calibration_sentences,
    calibration_test_sentence,
    constant_sentence,
    glossary_section,
    reliability_sentence,
    scored_sentence,
)
from emocaliber.reporting.work import work_section

TERMINAL_COLUMNS = ("accuracy", "ece", "brier", "brier_skill", "auroc")


def write_score_report(card: Scorecard, out: Path) -> Path:
    """Write scorecard.json, scorecard.md (without figures) and report.html into the folder `out`; returns the last."""
    document = score_document(card)
    write_atomically(out / "scorecard.json", [card.to_json().encode()])
    write_atomically(out / "scorecard.md", [render_markdown(_without_figures(document))[0].encode()])
    return write_page(document, out / "report.html")


def summary_document(card: Scorecard) -> Document:
    """A short report for the terminal: what was scored, the results over all rows and by group, and the notes."""
    subsets = [scores for scores in card.methods[0].scores if scores.kind in {"all", "group"}]
    blocks: list[Block] = [Paragraph(scored_sentence(method)) for method in card.methods if method.role == "method"]
    blocks += [headline_table(card.methods, scores, TERMINAL_COLUMNS, answered=False) for scores in subsets]
    tests = [calibration_test_sentence(method) for method in card.methods if method.role == "method"]
    blocks += [Paragraph(sentence) for sentence in tests if sentence]
    if beside := second_panel_table(card.methods, subsets[0], SECOND_PANEL[:4]):
        blocks.append(beside)
    if len({method.cost for method in card.methods if method.cost}) > 1 and (cost := cost_table(card.methods)):
        blocks.append(cost)
    blocks += [block for audit in card.audits for block in audit_blocks(audit, BRIEF)]
    return Document(_title(card), blocks + [Paragraph(f"Note: {note}") for note in card.notes], [])


def score_document(card: Scorecard) -> Document:
    """The report's content. The first method is the subject; the others are comparison with it."""
    methods = [method for method in card.methods if method.role == "method"]
    first = methods[0]
    all_rows, constant = first.find("all"), constant_of(card, first)
    drawn = [*methods[: CURVES - 1], *([constant] if constant else [])]
    sections = [
        glossary_section(card.settings),
        _results(card, first),
        _differences(card, all_rows),
        _calibration(methods),
        selection_section(methods, all_rows),
        work_section(first, all_rows),
        *task_and_group_sections(drawn, card.methods, card, [own for own in first.scores if own.kind == "all"]),
        audit_section(card.audits),
        ambiguity_section(methods),
        sets_section(methods),
        reasons_section(methods),
        second_panel_section(card.methods, all_rows),
        unusable_section(methods, all_rows),
        _published(card),
        every_metric_section(card.methods, all_rows),
        settings_section(card),
    ]
    return Document(_title(card), _opening(card, methods), [section for section in sections if section is not None])


def _title(card: Scorecard) -> str:
    names = [method.name for method in card.methods if method.role == "method"]
    return f"Scorecard: {card.suite or ', '.join(names[:3])}"


def _opening(card: Scorecard, methods: Sequence[MethodScores]) -> list[Block]:
    first, others = methods[0], methods[1:]
    all_rows, constant = first.find("all"), constant_of(card, first)
    accuracy = accuracy_sentences(all_rows, card.settings, f"“{first.name}”" if others else "The model")
    calibration = calibration_sentences(all_rows)
    comparison = against_constant(card, first, all_rows)
    if constant and comparison:
        calibration += " " + constant_sentence(
            constant, comparison.headline.get("brier"), all_rows, constant.find("all")
        )
    shown: list[Block] = [Paragraph(scored_sentence(method)) for method in methods]
    shown += [Paragraph(accuracy, lead=True), Paragraph(calibration.strip())]
    shown += [Paragraph(sentence) for other in others if (sentence := _beside(card, first, other))]
    reading = reliability_reading(card.settings.level)
    key = reliability_figure("key", "Is the confidence calibrated?", [(first.name, all_rows)], reading)
    tests = [Paragraph(sentence) for method in methods if (sentence := calibration_test_sentence(method))]
    return [*shown, headline_tiles(all_rows), key, Paragraph(reliability_sentence(all_rows)), *tests]


def _beside(card: Scorecard, first: MethodScores, other: MethodScores) -> str:
    """One sentence comparing another method with the first; "" if they share no sample."""
    pair = find_comparison(card.comparisons, other.name, first.name, first.find("all"))
    if pair is None:
        return ""
    parts = [
        f"{METRICS[name].title} {number(difference.value, '+.3f')} ({verdict(difference, name)})"
        for name in COMPARED
        if (difference := pair.headline.get(name)) and difference.value is not None
    ]
    return f"“{other.name}” minus “{first.name}”, on the {pair.n:,} samples that both have: {', '.join(parts)}."


def _results(card: Scorecard, first: MethodScores) -> Section:
    subsets = [scores for scores in first.scores if scores.kind == "all"]
    words = Paragraph("Arrows show which direction is better. Values have intervals, and reference methods are marked.")
    tables = [headline_table(card.methods, scores, notes=True) for scores in subsets]
    cost = cost_table(card.methods)
    return Section("Results", [words, *tables, *([cost] if cost else [])])


def _differences(card: Scorecard, all_rows: Scores) -> Section | None:
    pairs = [pair for pair in card.comparisons if pair.kind == "all"]
    pooled = [pair for pair in pairs if pair.aggregation == "pooled"]
    section = differences_section("Paired differences", f"First minus second. {subset_title(all_rows)}", pooled, card)
    if section is None or len(pooled) == len(pairs):
        return section
    macro = [pair for pair in pairs if pair.aggregation == "macro"]
    more = differences_section("", "First minus second. Mean over tasks", macro, card)
    return replace(section, blocks=[*section.blocks, *(more.blocks[1:] if more else [])])


def _calibration(methods: Sequence[MethodScores]) -> Section:
    panels = [(display_name(method), method.find("all")) for method in methods]
    groups = [
        (f"{method.name}, {scores.name}", scores)
        for method in methods
        for scores in method.scores
        if scores.kind == "group" and scores.aggregation == "pooled"
    ]
    blocks: list[Block] = []
    if len(methods) > 1:
        blocks.append(reliability_figure("reliability", "Reliability by method", panels, AGAIN_READING))
    if len(groups) > len(methods):
        blocks.append(reliability_figure("group", "Reliability by group of samples", groups, AGAIN_READING))
    blocks.append(histogram_figure("histogram", "Distribution of the confidence", panels))
    return Section("Calibration", blocks)


def _published(card: Scorecard) -> Section | None:
    table = published_table(card)
    return Section("Published results", [table]) if table else None


def _without_figures(document: Document) -> Document:
    """The document without figures, as a self-contained text file."""

    def text(blocks: Sequence[Block]) -> list[Block]:
        return [block for block in blocks if not isinstance(block, Figure)]

    sections = [replace(section, blocks=text(section.blocks)) for section in document.sections]
    return replace(document, opening=text(document.opening), sections=[each for each in sections if each.blocks])
