"""The report of a three-stage run: how the stages were trained, and whether the verbalized confidence is calibrated.

emocaliber run recipes/tiny --out out      writes out/report/report.html, report.md, report.json, scorecard.json
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emocaliber.core.files import write_atomically
from emocaliber.evaluation.reference_methods import CONSTANT
from emocaliber.evaluation.scorecard import MethodScores, Scores
from emocaliber.reporting.comparisons import against_constant, constant_of, find_comparison
from emocaliber.reporting.curves import AGAIN_READING, reliability_reading
from emocaliber.reporting.document import Block, Document, Gallery, Paragraph, Section
from emocaliber.reporting.pages import write_markdown, write_page
from emocaliber.reporting.run_sections import baselines_section, criteria_section, provenance_section, training_section
from emocaliber.reporting.run_summary import RunSummary
from emocaliber.reporting.sections import (
    ambiguity_section,
    differences_section,
    every_metric_section,
    headline_tiles,
    histogram_figure,
    reliability_figure,
    selection_section,
    settings_section,
    task_and_group_sections,
    unusable_section,
)
from emocaliber.reporting.tables import headline_table, scores_in, subset_title
from emocaliber.reporting.verbalization import verbalization_section
from emocaliber.reporting.words import (
    accuracy_sentences,
    calibration_sentences,
    constant_sentence,
    glossary_section,
    reliability_sentence,
    scored_sentence,
)
from emocaliber.reporting.work import work_section


def write_run_report(run: RunSummary, out: Path) -> Path:
    """Write report.html, report.md, report.json and scorecard.json; returns the path of report.html.

    Raises KeyError if `run.roles` or `run.focus` name something that the scorecard lacks.
    """
    document = run_document(run)
    write_atomically(out / "scorecard.json", [run.scorecard.to_json().encode()])
    write_atomically(out / "report.json", [run.to_json().encode()])
    write_markdown(document, out / "report.md")
    return write_page(document, out / "report.html")


def run_document(run: RunSummary) -> Document:
    """The report's content."""
    focus = _in_focus(run)
    curved, listed, constant = _curved(run), _listed(run), _constant(run)
    drawn = [*curved, *([constant] if constant else [])]
    sections = [
        glossary_section(run.scorecard.settings),
        _stages(listed, focus),
        _differences(run, focus),
        verbalization_section(run.verbalization, subset_title(focus)),
        baselines_section(run.baselines, run.roles.verbalized) if run.baselines else None,
        _calibration(run, curved, focus),
        selection_section(curved, focus),
        work_section(_subject(run), focus),
        *task_and_group_sections(drawn, listed, run.scorecard, [focus]),
        ambiguity_section(_named(run, run.roles.stage_2, run.roles.verbalized)),
        _failures(run),
        unusable_section([method for method in listed if method.role == "method"], _subject(run).find("all")),
        criteria_section(run),
        training_section(run.stages),
        every_metric_section(listed, focus),
        settings_section(run.scorecard, run.notes),
        provenance_section(run),
    ]
    return Document(run.title, _opening(run, focus), [section for section in sections if section is not None])


def best_posthoc(run: RunSummary) -> MethodScores | None:
    """The post-hoc map with the lowest Brier score on the rows in focus; None if the run has none."""
    maps = [run.scorecard.method(name) for name in run.roles.posthoc]
    focus = run.focus
    scored = [(method.find(focus.kind, focus.name, focus.aggregation)["brier"].value, method) for method in maps]
    defined = [(brier, method) for brier, method in scored if brier is not None]
    return min(defined, key=lambda pair: pair[0])[1] if defined else None


def _subject(run: RunSummary) -> MethodScores:
    return run.scorecard.method(run.roles.verbalized)


def _in_focus(run: RunSummary) -> Scores:
    return _subject(run).find(run.focus.kind, run.focus.name, run.focus.aggregation)


def _constant(run: RunSummary) -> MethodScores | None:
    """The constant for the subject's labels, which the scorecard may store under a method with the same labels."""
    constant = constant_of(run.scorecard, _subject(run))
    return replace(constant, name=CONSTANT) if constant else None


def _named(run: RunSummary, *names: str | None) -> list[MethodScores]:
    return [run.scorecard.method(name) for name in names if name is not None]


def _curved(run: RunSummary) -> list[MethodScores]:
    """The methods whose curves are drawn: verbalized after stages 3 and 2, the token probability and its best map."""
    best = best_posthoc(run)
    return [*_named(run, run.roles.verbalized, run.roles.stage_2, run.roles.probability), *([best] if best else [])]


def _listed(run: RunSummary) -> list[MethodScores]:
    """The methods of every table, in the order of the stages, the reference methods last."""
    roles = run.roles
    own = _named(run, roles.stage_1, roles.stage_2, roles.verbalized, roles.expected)
    references = [
        replace(method, role="reference", note="the token probability of the label, as it is")
        for method in _named(run, roles.probability)
    ]
    references += [
        replace(method, role="reference", note="that probability recalibrated on calibration rows")
        for method in _named(run, *roles.posthoc)
    ]
    constant = _constant(run)
    return [*own, *references, *([constant] if constant else [])]


def _opening(run: RunSummary, focus: Scores) -> list[Block]:
    card, subject, constant = run.scorecard, _subject(run), _constant(run)
    calibration = calibration_sentences(focus)
    reference = scores_in(constant, focus) if constant else None
    comparison = against_constant(card, subject, focus)
    if constant and reference and comparison:
        calibration += " " + constant_sentence(constant, comparison.headline.get("brier"), focus, reference)
    reading = reliability_reading(card.settings.level)
    key = reliability_figure("key", "Is the verbalized confidence calibrated?", [(subject.name, focus)], reading)
    left_out = [
        Paragraph(f"{stage.verdict} Below, “stage 3” therefore refers to the answers of stage 2.")
        for stage in run.stages
        if stage.verdict and stage.selected_step == 0
    ]
    return [
        *left_out,
        Paragraph(scored_sentence(subject)),
        Paragraph(accuracy_sentences(focus, card.settings), lead=True),
        Paragraph(calibration.strip()),
        headline_tiles(focus),
        key,
        Paragraph(reliability_sentence(focus)),
    ]


def _stages(listed: list[MethodScores], focus: Scores) -> Section:
    words = (
        "Stage 1 trains the label, stage 2 the verbalized confidence, stage 3 its calibration. The reference methods"
        " below are the token probability of the label, raw and recalibrated on calibration rows (which needs access to"
        " the model’s logits), and a constant confidence per task."
    )
    return Section("Results by stage", [Paragraph(words), headline_table(listed, focus, notes=True)])


def _differences(run: RunSummary, focus: Scores) -> Section | None:
    best, subject = best_posthoc(run), run.roles.verbalized
    others = [run.roles.stage_2, run.roles.probability, best.name if best else None, run.roles.expected]
    pairs = [find_comparison(run.scorecard.comparisons, subject, name, focus) for name in others if name]
    pairs.append(against_constant(run.scorecard, _subject(run), focus))
    caption = f"Stage 3 minus others. {subset_title(focus)}"
    comparisons = [pair for pair in pairs if pair is not None]
    section = differences_section("Effect of stage 3", caption, comparisons, run.scorecard)
    verdicts: list[Block] = [Paragraph(stage.verdict) for stage in run.stages if stage.verdict]
    return None if section is None else replace(section, blocks=[*verdicts, *section.blocks])


def _calibration(run: RunSummary, curved: list[MethodScores], focus: Scores) -> Section:
    panels = [(method.name, scores) for method in curved if (scores := scores_in(method, focus))]
    by_rows = [
        (f"{scores.kind} {scores.name}", scores)
        for scores in _subject(run).scores
        if scores.kind in {"task", "group"} and scores.aggregation == "pooled"
    ]
    blocks: list[Block] = [reliability_figure("method", "Reliability before and after", panels, AGAIN_READING)]
    if len(by_rows) > 1:
        title = "Reliability after stage 3, by task and group of samples"
        blocks.append(reliability_figure("rows", title, by_rows, AGAIN_READING))
    blocks.append(histogram_figure("histogram", "Distribution of the confidence", panels))
    return Section("Calibration", blocks)


def _failures(run: RunSummary) -> Section | None:
    galleries: list[Block] = [
        Gallery(caption, examples)
        for kind, caption in (
            ("confident mistake", "Wrong answers with the highest confidence"),
            ("doubtful hit", "Correct answers with the lowest confidence"),
        )
        if (examples := [example for example in run.examples if example.kind == kind])
    ]
    words = Paragraph("Some labels are themselves open to doubt; judge by eye.")
    return Section("Where the confidence is most wrong", [words, *galleries]) if galleries else None
