"""The sections of a run's report on training, acceptance criteria, baselines and provenance.

[training_section(run.stages), criteria_section(run), provenance_section(run)]
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.scorecard import MethodScores, Scorecard, Scores
from emocaliber.reporting.comparisons import difference_table
from emocaliber.reporting.curves import TRAINING_READING, training_panel
from emocaliber.reporting.document import Block, Cell, Figure, Panel, Paragraph, Section, Table
from emocaliber.reporting.pages import anchor
from emocaliber.reporting.run_summary import RunSummary, StageLog
from emocaliber.reporting.tables import (
    ABSENT,
    display_name,
    metric_title,
    scores_in,
    subset_title,
    value_cell,
    without_absent,
)

COLUMNS = ("accuracy", "ece", "brier", "auroc", "aurc", "agreement_ece", "agreement_brier")
BASELINES = (
    "The baselines are small networks on features of the model’s frozen base: the vision tower’s tokens of the image"
    " and of its centre, and the hidden states of the base’s own description of it. They are trained on the split"
    " train, use the split calibrate for early stopping and temperature, and are scored on the same test rows as the"
    " language model. EDL, TMC and ETMC give the mean of a Dirichlet distribution, TER a mean weighted by learned"
    " confidences, softmax and AmbER² a probability; AmbER² is trained on annotator votes if there are any. The"
    " language model’s token probability and its two post-hoc recalibrations are included. Trusted F1 is computed at"
    " the threshold that is best on the calibration rows, and shown with the F1 of trusting every answer."
)


def training_section(stages: Sequence[StageLog]) -> Section | None:
    """Training data, training curves and recipes of every stage; None if nothing was trained."""
    if not stages:
        return None
    blocks: list[Block] = [_stage_table(stages)]
    panels = [panel for stage in stages for panel in _panels(stage)]
    if panels:
        blocks.append(Figure("Training curves", panels, TRAINING_READING))
    else:
        blocks.append(Paragraph("No training curve was recorded."))
    blocks.append(_recipe_table(stages))
    return Section("Training", blocks)


def criteria_section(run: RunSummary) -> Section | None:
    """The recipe's acceptance criteria, and whether they were met; None if it has none."""
    if not run.criteria:
        return None
    rows = [
        [
            Cell(criterion.name, criterion.note),
            Cell(criterion.required),
            value_cell(criterion.measured),
            Cell("✓ met" if criterion.met else "✗ not met"),
        ]
        for criterion in run.criteria
    ]
    missed = [criterion.name for criterion in run.criteria if not criterion.met]
    words = f"{len(rows) - len(missed)} of {len(rows)} met."
    words += f" Not met: {'; '.join(missed)}." if missed else ""
    table = Table("Required and measured", ["Criterion", "Required", "Measured", "Outcome"], rows)
    return Section("Acceptance criteria", [Paragraph(words), table])


def baselines_section(card: Scorecard, subject: str) -> Section:
    """All methods on each task and group; then `subject`, the method that the report is about, minus each other one."""
    scopes = [scores for kind in ("task", "group") for scores in card.method(subject).scores if scores.kind == kind]
    scopes = [scores for scores in scopes if scores.aggregation == "pooled"]
    blocks: list[Block] = [Paragraph(BASELINES), *(comparison_table(card.methods, scores) for scores in scopes)]
    for scores in scopes:
        pairs = [pair for pair in card.comparisons if (pair.kind, pair.name) == (scores.kind, scores.name)]
        if scores.kind == "task":
            blocks.append(difference_table(f"{subject} minus others. {subset_title(scores)}", pairs, card))
    return Section("Comparison with evidential and other baselines", blocks)


def comparison_table(methods: Sequence[MethodScores], subset: Scores) -> Table:
    """The compared metrics in a subset, reference methods included; agreement only if there are votes."""
    own = [(method, scores) for method in methods if (scores := scores_in(method, subset)) is not None]
    rows = [
        [
            Cell(display_name(method)),
            *(value_cell(scores.headline.get(name)) for name in COLUMNS),
            _trusted(scores),
        ]
        for method, scores in own
    ]
    references = frozenset(place for place, (method, _) in enumerate(own) if method.role == "reference")
    header = ["Method", *map(metric_title, COLUMNS), "Trusted F1 ↑, F1 of trusting all"]
    return without_absent(Table(subset_title(subset), header, rows, references))


def provenance_section(run: RunSummary) -> Section:
    """Versions, hashes and commands: what is needed to reproduce the run."""
    rows = [[Cell(name), Cell(value)] for name, value in run.provenance.items()]
    return Section("Provenance", [Table("What this run was made with", ["Name", "Value"], rows)], folded=True)


def _trusted(scores: Scores) -> Cell:
    best = next((at for at in scores.trusted if at.rule == "best F1"), None)
    if best is None:
        return ABSENT
    own = value_cell(best.f1)
    return Cell(own.text, f"{own.detail}; trusting all {value_cell(best.trust_all_f1).text}")


def _stage_table(stages: Sequence[StageLog]) -> Table:
    header = ["Stage", "Training data", "Samples", "Held out", "Steps", "Selected step", "Time (s)",
              "Trainable parameters", "SHA-256"]  # fmt: skip
    rows = [
        [
            Cell(stage.name),
            Cell(stage.data),
            Cell(f"{stage.n_train:,}"),
            Cell(f"{stage.n_held_out:,}"),
            Cell(f"{stage.steps:,}"),
            _selected(stage),
            Cell(f"{stage.seconds:,.0f}"),
            Cell(f"{stage.trained_parameters:,}"),
            Cell(stage.sha256[:12]),
        ]
        for stage in stages
    ]
    return Table("The stages", header, rows)


def _selected(stage: StageLog) -> Cell:
    if stage.selected_step == 0:
        return Cell("0", "left out: the start")
    return Cell(f"{stage.steps if stage.selected_step is None else stage.selected_step:,}")


def _recipe_table(stages: Sequence[StageLog]) -> Table:
    keys = list(dict.fromkeys(key for stage in stages for key in stage.recipe))
    rows = [[Cell(key), *(Cell(stage.recipe.get(key, "–")) for stage in stages)] for key in keys]
    return Table("Recipes: every setting of every stage", ["Key", *(stage.name for stage in stages)], rows)


def _panels(stage: StageLog) -> list[Panel]:
    return [
        training_panel(
            f"training-{anchor(stage.name)}-{anchor(quantity)}",
            f"{stage.name}: {quantity} ({stage.n_held_out if 'held' in quantity else stage.n_train:,} samples)",
            quantity,
            curve,
            stage.selected_step,
        )
        for quantity, curve in stage.curves.items()
        if curve
    ]
