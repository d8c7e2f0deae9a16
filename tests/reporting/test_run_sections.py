"""The run's report shows the baselines beside the language model, references and trusted F1 included, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emocaliber.core.predictions import Source
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.reporting.run_report import write_run_report
from emocaliber.reporting.run_sections import comparison_table
from emocaliber.reporting.run_summary import RunSummary
from tests.reporting.pages import Page
from tests.reporting.synthetic import FAST, STATED, predictions

TITLE = "Comparison with evidential and other baselines"


@pytest.fixture(scope="module")
def baselines() -> Scorecard:
    """The stated confidence and one baseline, with votes on the emoji."""
    rows = {
        STATED: predictions(STATED, votes=True),
        "ter": predictions("ter", votes=True, seed=3, sharpness=0.5, source=Source.DIRICHLET),
    }
    held = {name: predictions(name, 120, seed=5) for name in rows}
    return build_scorecard(rows, calibration=held, settings=replace(FAST, replicates=20), subject=STATED)


def test_a_run_without_baselines_has_no_such_section(run_page: Page):
    assert TITLE not in run_page.text


def test_with_baselines_every_task_group_and_difference_is_shown(run: RunSummary, baselines: Scorecard, tmp_path: Path):
    text = Page(write_run_report(replace(run, baselines=baselines), tmp_path).read_text(encoding="utf-8")).text
    shown = text[text.index(TITLE) :]
    for part in (
        "Task “emoji”",
        "Task “kaomoji”",
        "Group “held-out style”",
        "minus ter",
        "Trusted F1 ↑, F1 of trusting all",
    ):
        assert part in shown
    assert "minus ter" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_agreement_has_columns_only_where_annotators_voted(baselines: Scorecard):
    method = baselines.method("ter")
    headers = {task: comparison_table(baselines.methods, method.find("task", task)).header for task in baselines.tasks}
    assert "ECE against agreement ↓" in headers["emoji"]
    assert "ECE against agreement ↓" not in headers["kaomoji"]


def test_beside_trusted_f1_stands_that_of_trusting_everything(baselines: Scorecard):
    scores = baselines.method("ter").find("task", "kaomoji")
    table = comparison_table(baselines.methods, scores)
    row = next(row for row in table.rows if row[0].text == "ter")
    accuracy = scores.headline["accuracy"].value
    assert accuracy is not None
    assert row[-1].detail.endswith(f"; trusting all {2 * accuracy / (1 + accuracy):.3f}")
    constant = next(row for number, row in enumerate(table.rows) if number in table.references)
    assert constant[-1].text == "n/a"
