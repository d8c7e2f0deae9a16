"""The report of a run shows what was trained, the acceptance criteria, and where the confidence is most wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from emocaliber.evaluation.scorecard import Estimate
from emocaliber.evaluation.verbalization import Step
from emocaliber.reporting.run_report import best_posthoc, write_run_report
from emocaliber.reporting.run_summary import Criterion, Focus, Roles, RunSummary, read_run_summary
from tests.reporting.pages import Page
from tests.reporting.synthetic import EXPECTED, ISOTONIC, PROBABILITY, STAGE_1, STAGE_2, STATED, TEMPERATURE


def page_of(run: RunSummary, folder: Path) -> Page:
    return Page(write_run_report(run, folder).read_text(encoding="utf-8"))


def test_all_files_are_written_and_the_page_needs_none_of_the_others(run_folder: Path, run_page: Page):
    names = {path.name for path in run_folder.iterdir()}
    assert names == {"report.html", "report.md", "report.json", "scorecard.json", "figures", "images"}
    assert run_page.requests == []
    assert run_page.tags["script"] == 0
    assert run_page.unbalanced == []
    assert run_page.links <= set(run_page.ids)
    assert max(run_page.ids.values()) == 1


def test_the_same_run_gives_the_same_bytes(run: RunSummary, run_folder: Path, tmp_path: Path):
    write_run_report(run, tmp_path)
    files = [path for path in run_folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert path.read_bytes() == (tmp_path / path.relative_to(run_folder)).read_bytes()


def test_the_stages_stand_beside_the_reference_methods(run_page: Page):
    words = run_page.text
    for name in (STAGE_1, STAGE_2, STATED, EXPECTED, PROBABILITY, TEMPERATURE, ISOTONIC, "constant per task"):
        assert name in words


def test_a_criterion_that_was_not_met_is_said_plainly_and_not_before_the_results(run_page: Page):
    words = run_page.text
    assert words.index("Results by stage") < words.rindex("Acceptance criteria")
    assert "1 of 2 met." in words
    assert "Not met: ECE of the stated confidence." in words
    assert "✗ not met" in words
    assert "✓ met" in words


def test_stage_3_is_compared_with_stage_2_the_constant_and_the_best_posthoc_map(run: RunSummary, run_page: Page):
    words = run_page.text
    for other in (STAGE_2, best_posthoc(run).name, f"constant per task ({STATED})", EXPECTED):
        assert f"minus {other}" in words


def test_the_best_posthoc_map_has_the_lowest_brier_score(run: RunSummary):
    scores = {name: run.scorecard.method(name).find("all").headline["brier"].value for name in run.roles.posthoc}
    assert best_posthoc(run).name == min(scores, key=scores.get)


def test_mistakes_and_hits_show_their_pictures(run: RunSummary, run_page: Page):
    page = run_page
    assert page.tags["img"] == len(run.examples) == 8
    assert "Wrong answers with the highest confidence" in page.text
    assert "Correct answers with the lowest confidence" in page.text


def test_training_curves_settings_and_hashes_are_there(run_page: Page):
    words = run_page.text
    for part in (
        "3 calibrate: held-out Brier (440 samples)",
        "selected: step 200",
        "learning_rate",
        "9f86d081884c",
        "2.13.0",
    ):
        assert part in words


def test_a_run_with_another_focus_all_criteria_met_and_a_hostile_response(run: RunSummary, tmp_path: Path):
    hostile = "</pre><script>alert(1)</script>http://evil.example"
    criterion = Criterion("Readable responses", "at least 0.995", Estimate(1.0), met=True)
    examples = [replace(run.examples[0], response=hostile)]
    page = page_of(replace(run, focus=Focus("task", "kaomoji"), criteria=[criterion], examples=examples), tmp_path)
    assert "180 samples (task “kaomoji”)" in page.text
    assert page.text.count("All rows, 2 tasks pooled (n = 240) Method Accuracy") >= 1
    assert page.text.count("Task “kaomoji” (n = 180) Method Accuracy") == 1
    assert "1 of 1 met." in page.text
    assert page.tags["script"] == 0
    assert page.requests == []
    assert hostile in page.text


def test_a_stage_3_that_was_left_out_is_said_first_with_its_figures(run: RunSummary, tmp_path: Path):
    verdict = "Stage 3 is left out, and stage 2's weights are the result: on 440 held-out rows …"
    last = replace(run.stages[2], selected_step=0, verdict=verdict)
    words = page_of(replace(run, stages=[*run.stages[:2], last]), tmp_path).text
    assert words.index(verdict) < words.index("Scored for")
    assert words.count(verdict) == 2, "and where stage 3 is compared with others"
    assert "left out: the start" in words


def test_the_steps_from_what_is_known_to_what_is_said_are_a_table_and_in_the_json(run: RunSummary, tmp_path: Path):
    first = Step("best floor", "", 0.2, 0.57, None, None)
    second = Step("stated", "reading: …", 0.21, 0.57, (0.01, -0.001, 0.021), (0.01, -0.001, 0.021))
    words = page_of(replace(run, verbalization=[first, second]), tmp_path).text
    assert "From what it knows to what it says" in words
    assert "+0.0100" in words
    assert "−0.0010 to +0.0210" in words
    assert read_run_summary(tmp_path).verbalization == [first, second]


def test_a_run_without_references_examples_criteria_or_curves_has_a_report(run: RunSummary, tmp_path: Path):
    stage = replace(run.stages[0], curves={})
    bare = replace(run, roles=Roles(STATED), examples=[], criteria=[], stages=[stage], provenance={})
    words = page_of(bare, tmp_path).text
    assert "From what it knows" not in words
    assert "No training curve was recorded." in words
    assert "Acceptance criteria" not in words


def test_a_role_that_the_scorecard_lacks_is_an_error_that_names_it(run: RunSummary, tmp_path: Path):
    with pytest.raises(KeyError, match="stage 9"):
        write_run_report(replace(run, roles=Roles("stage 9")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_json_holds_everything_but_the_scorecard_which_stands_beside_it(run: RunSummary, run_folder: Path):
    written = json.loads((run_folder / "report.json").read_text())
    assert written["criteria"][1]["met"] is False
    assert written["roles"]["verbalized"] == STATED
    assert len(written["examples"]) == 8
    assert "scorecard" not in written
    assert (run_folder / "scorecard.json").read_text() == run.scorecard.to_json()


def test_markdown_says_what_the_page_says(run_folder: Path):
    text = (run_folder / "report.md").read_text()
    assert "1 of 2 met." in text
    assert "How to read it:" in text
    assert "![](images/" in text
