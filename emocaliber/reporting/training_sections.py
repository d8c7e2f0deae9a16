"""The sections on how a run was made: stages, recipes, training curves, versions and hashes.

python -m pytest tests/reporting/test_run_report.py
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.reporting.document import Block, Cell, Figure, Panel, Paragraph, Section, Table
from emocaliber.reporting.figures.training import TRAINING_READING, training_panel
from emocaliber.reporting.html import anchor
from emocaliber.reporting.run_summary import RunSummary, StageLog


def training(stages: Sequence[StageLog]) -> Section | None:
    """What was trained on what, the training curves and the recipes; None where nothing was trained."""
    if not stages:
        return None
    blocks: list[Block] = [_stage_table(stages)]
    panels = [panel for stage in stages for panel in _panels(stage)]
    if panels:
        blocks.append(Figure("Training curves", panels, TRAINING_READING))
    else:
        blocks.append(Paragraph("No training curve was recorded."))
    blocks.append(_recipe_table(stages))
    return Section("What was trained on what", blocks)


def provenance(run: RunSummary) -> Section:
    """Versions, hashes and commands: what is needed to make the same run again."""
    rows = [[Cell(name), Cell(value)] for name, value in run.provenance.items()]
    return Section("Versions and hashes", [Table("What this run was made with", ["Name", "Value"], rows)], folded=True)


def _stage_table(stages: Sequence[StageLog]) -> Table:
    header = [
        "Stage",
        "Learned from",
        "Pictures",
        "Held out",
        "Steps",
        "Kept step",
        "Time (s)",
        "Trained parameters",
        "SHA-256",
    ]
    rows = [
        [
            Cell(stage.name),
            Cell(stage.data),
            Cell(f"{stage.n_train:,}"),
            Cell(f"{stage.n_held_out:,}"),
            Cell(f"{stage.steps:,}"),
            Cell(f"{stage.steps if stage.selected_step is None else stage.selected_step:,}"),
            Cell(f"{stage.seconds:,.0f}"),
            Cell(f"{stage.trained_parameters:,}"),
            Cell(stage.sha256[:12]),
        ]
        for stage in stages
    ]
    return Table("The stages", header, rows)


def _recipe_table(stages: Sequence[StageLog]) -> Table:
    keys = list(dict.fromkeys(key for stage in stages for key in stage.recipe))
    rows = [[Cell(key), *(Cell(stage.recipe.get(key, "–")) for stage in stages)] for key in keys]
    return Table("Recipes: every setting of every stage", ["Key", *(stage.name for stage in stages)], rows)


def _panels(stage: StageLog) -> list[Panel]:
    return [
        training_panel(
            f"training-{anchor(stage.name)}-{anchor(quantity)}",
            f"{stage.name}: {quantity} ({stage.n_held_out if 'held' in quantity else stage.n_train:,} pictures)",
            quantity,
            curve,
            stage.selected_step,
        )
        for quantity, curve in stage.curves.items()
        if curve
    ]
