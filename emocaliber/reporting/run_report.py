"""The report of a whole run: what the three stages were trained on, and whether the stated confidence became right.

Not a measurement: everything numeric is in the RunSummary and its Scorecard.

    emocaliber run recipes/tiny --out out      writes out/report/report.html, report.md, report.json, scorecard.json
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emocaliber.core.files import write_atomically
from emocaliber.evaluation.reference_methods import CONSTANT
from emocaliber.evaluation.scorecard import MethodScores, Scores
from emocaliber.reporting.baselines_section import beside_baselines
from emocaliber.reporting.comparisons import against_constant, constant_of, find_comparison
from emocaliber.reporting.document import Block, Cell, Document, Gallery, Paragraph, Section, Table
from emocaliber.reporting.figures.reliability import AGAIN_READING, reliability_reading
from emocaliber.reporting.files import write_page, write_text
from emocaliber.reporting.glossary import how_to_read
from emocaliber.reporting.run_summary import RunSummary
from emocaliber.reporting.sections import (
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
    headline_table,
    scope_title,
    scores_in,
    value_cell,
)
from emocaliber.reporting.training_sections import provenance, training
from emocaliber.reporting.words import against, calibrated, opening, summary


def write_run_report(run: RunSummary, out_dir: Path) -> Path:
    """Write report.html, report.md, report.json and scorecard.json; returns the path of report.html.

    Raises KeyError where `run.roles` or `run.focus` name what the scorecard does not have.
    """
    document = run_document(run)
    write_atomically(out_dir / "scorecard.json", [run.scorecard.to_json().encode()])
    write_atomically(out_dir / "report.json", [run.to_json().encode()])
    write_text(document, out_dir)
    return write_page(document, out_dir)


def run_document(run: RunSummary) -> Document:
    """What the report says."""
    scope = _stated(run).find(run.focus.kind, run.focus.name, run.focus.aggregation)
    curved, listed, constant = _curved(run), _listed(run), _constant(run)
    sections = [
        _bars(run),
        how_to_read(run.scorecard.settings),
        _stages(run, listed, scope),
        _differences(run, scope),
        beside_baselines(run.baselines, run.roles.stated) if run.baselines else None,
        _reliability(run, curved, scope),
        selection(curved, scope),
        tasks_and_groups([*curved, *([constant] if constant else [])], listed, [scope]),
        ambiguity(_named(run, run.roles.stage_2, run.roles.stated)),
        _pictures(run),
        missing([one for one in listed if one.role == "method"], _stated(run).find("all")),
        training(run.stages),
        every_metric(listed, scope),
        how_made(run.scorecard, run.notes),
        provenance(run),
    ]
    return Document(run.title, _opening(run, scope), [one for one in sections if one is not None])


def best_posthoc(run: RunSummary) -> MethodScores | None:
    """The post-hoc map with the lowest Brier score on the rows in focus; None where the run has none."""
    found = [run.scorecard.method(name) for name in run.roles.posthoc]
    scored = [(one.find(run.focus.kind, run.focus.name, run.focus.aggregation), one) for one in found]
    known = [(value, one) for scores, one in scored if (value := scores.headline["brier"].value) is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else None


def _stated(run: RunSummary) -> MethodScores:
    return run.scorecard.method(run.roles.stated)


def _constant(run: RunSummary) -> MethodScores | None:
    """The constant floor of the stated confidence. The scorecard may print it under a method with the same labels."""
    found = constant_of(run.scorecard, _stated(run))
    return replace(found, name=CONSTANT) if found else None


def _named(run: RunSummary, *names: str | None) -> list[MethodScores]:
    return [run.scorecard.method(name) for name in names if name is not None]


def _curved(run: RunSummary) -> list[MethodScores]:
    """The methods whose curves are drawn: what is said after stages 3 and 2, the label probability and its best map."""
    best = best_posthoc(run)
    return [*_named(run, run.roles.stated, run.roles.stage_2, run.roles.probability), *([best] if best else [])]


def _listed(run: RunSummary) -> list[MethodScores]:
    """The methods of every table, in the order of the stages, the floors last."""
    roles = run.roles
    own = _named(run, roles.stage_1, roles.stage_2, roles.stated, roles.expected)
    floors = [
        replace(one, role="reference", note="that probability after a map fitted on calibration rows")
        for one in _named(run, *roles.posthoc)
    ]
    raw = [
        replace(one, role="reference", note="the label’s probability inside the model, as it is")
        for one in _named(run, roles.probability)
    ]
    constant = _constant(run)
    return [*own, *raw, *floors, *([constant] if constant else [])]


def _opening(run: RunSummary, scope: Scores) -> list[Block]:
    card, stated = run.scorecard, _stated(run)
    words, more = opening(scope, card.settings), summary(scope)
    constant = _constant(run)
    floor = scores_in(constant, scope) if constant else None
    compared = against_constant(card, stated, scope)
    if floor and compared:
        more += " " + against(floor, compared.headline.get("brier"), scope)
    met = sum(bar.met for bar in run.bars)
    promised = f"Promises kept: {met} of {len(run.bars)} (the first table below)." if run.bars else ""
    reading = reliability_reading(card.settings.level)
    key = reliability_figure("key", "Does the stated confidence come true?", [(stated.name, scope)], reading)
    said = Paragraph(" ".join(one for one in (calibrated(scope), promised) if one))
    return [Paragraph(words, lead=True), Paragraph(more.strip()), headline_tiles(scope), key, said]


def _bars(run: RunSummary) -> Section | None:
    if not run.bars:
        return None
    rows = [
        [
            Cell(bar.name, bar.note),
            Cell(bar.wanted),
            value_cell(bar.measured),
            Cell("✓ met" if bar.met else "✗ not met"),
        ]
        for bar in run.bars
    ]
    missed = [bar.name for bar in run.bars if not bar.met]
    words = f"Not met: {'; '.join(missed)}." if missed else "Every promise was kept on these pictures."
    table = Table("Promised and measured", ["Promise", "Wanted", "Measured", "Outcome"], rows)
    return Section("What was promised, and what was measured", [Paragraph(words), table])


def _stages(run: RunSummary, listed: list[MethodScores], scope: Scores) -> Section:
    words = (
        "Stage 1 learns to name the emotion, stage 2 to say how sure it is, stage 3 to say it rightly. The floors stand"
        " below: the label’s own probability, raw and corrected after the fact on calibration pictures, which needs"
        " access to the model’s inside, and one constant number per task."
    )
    return Section("From stage to stage", [Paragraph(words), headline_table(listed, scope, notes=True)])


def _differences(run: RunSummary, scope: Scores) -> Section | None:
    best, stated = best_posthoc(run), run.roles.stated
    others = [run.roles.stage_2, run.roles.probability, best.name if best else None, run.roles.expected]
    found = [find_comparison(run.scorecard.comparisons, stated, name, scope) for name in others if name]
    found.append(against_constant(run.scorecard, _stated(run), scope))
    caption = f"Stage 3 minus others. {scope_title(scope)}"
    return differences("What stage 3 changed", caption, [one for one in found if one is not None])


def _reliability(run: RunSummary, curved: list[MethodScores], scope: Scores) -> Section:
    panels = [(one.name, scores) for one in curved if (scores := scores_in(one, scope))]
    by_rows = [
        (f"{one.kind} {one.name}", one)
        for one in _stated(run).scores
        if one.kind in {"task", "group"} and one.aggregation == "pooled"
    ]
    blocks: list[Block] = [reliability_figure("method", "Stated and true, before and after", panels, AGAIN_READING)]
    if len(by_rows) > 1:
        title = "Stated and true after stage 3, by task and group of pictures"
        blocks.append(reliability_figure("rows", title, by_rows, AGAIN_READING))
    blocks.append(histogram_figure("histogram", "Which confidences are stated", panels))
    return Section("What it says about its confidence", blocks)


def _pictures(run: RunSummary) -> Section | None:
    mistakes = [one for one in run.examples if one.kind == "confident mistake"]
    hits = [one for one in run.examples if one.kind == "doubtful hit"]
    galleries: list[Block] = []
    if mistakes:
        galleries.append(Gallery("The most confident mistakes", mistakes))
    if hits:
        galleries.append(Gallery("The most doubtful hits", hits))
    words = Paragraph(
        "Where the stated confidence fails: wrong answers given with the highest confidence, and right ones given with"
        " the lowest. Some labels are themselves open to doubt; judge by eye."
    )
    return Section("Pictures it got most wrong about itself", [words, *galleries]) if galleries else None
