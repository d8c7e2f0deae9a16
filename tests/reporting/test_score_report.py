"""The report of a scorecard is one file that holds everything and asks for nothing."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from emocaliber.core.predictions import State
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.reporting.score_report import write_score_report
from tests.reporting.pages import Page
from tests.reporting.synthetic import FAST, predictions


def page_of(card: Scorecard, folder: Path) -> Page:
    return Page(write_score_report(card, folder).read_text(encoding="utf-8"))


def test_one_file_that_asks_for_nothing_and_runs_nothing(single_page: Page):
    page = single_page
    assert page.requests == []
    assert page.handlers == []
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    assert page.unbalanced == []
    assert max(page.ids.values()) == 1
    assert page.links <= set(page.ids)


def test_the_same_scorecard_gives_the_same_bytes_in_one_small_file(single: Scorecard, tmp_path: Path):
    first = write_score_report(single, tmp_path / "a").read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["report.html"]
    assert write_score_report(single, tmp_path / "b").read_bytes() == first
    assert len(first) < 1_000_000


def test_every_part_is_there(single_page: Page):
    words = single_page.text
    for part in (
        "Does the stated confidence come true?",
        "How to read this page",
        "The figures",
        "constant per task (tiny)",
        "isotonic (tiny)",
        "Which confidences are stated",
        "Error rate when only the surest pictures are answered",
        "Trusting answers from a threshold up",
        "Each task and group of pictures",
        "Where people disagree",
        "Rows by state",
        "Every metric",
        "How these figures were made",
    ):
        assert part in words


def test_every_figure_says_how_to_read_it(single_page: Page):
    page = single_page
    assert page.tags["figure"] == page.tags["figcaption"] == page.text.count("How to read it.")


def test_the_headline_figures_are_those_of_the_scorecard(single: Scorecard, single_page: Page):
    words = single_page.text
    for name, one in single.method("tiny").find("all").headline.items():
        if one.value is not None:
            assert f"{abs(one.value):.3f}" in words, name


def test_two_methods_are_compared_pairwise(pair_page: Page):
    words = pair_page.text
    assert "“over-confident” against “calibrated”, on the 240 pictures that both answered" in words
    assert "Paired differences" in words
    assert "minus over-confident" in words


def test_without_calibration_rows_it_says_why_there_is_no_threshold(pair_page: Page):
    words = pair_page.text
    assert "No threshold was chosen: that needs predictions on calibration rows." in words
    assert "no calibration rows, so no trusted threshold and no isotonic reference" in words


def test_a_hostile_method_name_stays_text(tmp_path: Path):
    name = "<script>alert(1)</script>$x_1^2$"
    page = page_of(build_scorecard({name: predictions("m", 60)}, settings=FAST), tmp_path)
    assert page.tags["script"] == 0
    assert name in page.text


def test_a_method_that_answers_nothing_has_a_report(tmp_path: Path):
    rows = [replace(row, confidence=None, state=State.MISSING_CONFIDENCE) for row in predictions("mute", 60)]
    words = page_of(build_scorecard({"mute": rows}, settings=FAST), tmp_path).text
    assert "gave a usable answer to 0" in words
    assert "not defined" in words


def test_rows_without_task_or_group_have_a_report(tmp_path: Path):
    rows = [replace(row, task="", group="") for row in predictions("plain", 60)]
    assert "Scorecard: plain" in page_of(build_scorecard({"plain": rows}, settings=FAST), tmp_path).text
