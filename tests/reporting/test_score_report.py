"""The report of a scorecard is one file that holds everything and asks for nothing."""

from __future__ import annotations

import io
import re
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console

from emocaliber.core.predictions import State
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.reporting.document import Table
from emocaliber.reporting.score_report import summary_document, write_score_report
from emocaliber.reporting.terminal import render_terminal
from emocaliber.reporting.words import scored_sentence
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
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"report.html", "scorecard.json", "scorecard.md"}
    assert write_score_report(single, tmp_path / "b").read_bytes() == first
    assert len(first) < 1_000_000


def test_every_part_is_there(single_page: Page):
    words = single_page.text
    for part in (
        "Is the confidence calibrated?",
        "How to read this page",
        "Results",
        "constant per task (tiny)",
        "isotonic (tiny)",
        "Distribution of the confidence",
        "Risk–coverage curve",
        "Trusted metrics against the threshold",
        "Each task and group of samples",
        "By annotator agreement",
        "Rows by status",
        "All metrics",
        "Evaluation settings",
    ):
        assert part in words


def test_every_figure_says_how_to_read_it(single_page: Page):
    page = single_page
    assert page.tags["figure"] == page.tags["figcaption"] == page.text.count("How to read it.")


def test_the_headline_values_are_those_of_the_scorecard(single: Scorecard, single_page: Page):
    words = single_page.text
    for name, estimate in single.method("tiny").find("all").headline.items():
        if estimate.value is not None:
            assert f"{abs(estimate.value):.3f}" in words, name


def test_two_methods_are_compared_pairwise(pair_page: Page):
    words = pair_page.text
    assert "“over-confident” minus “calibrated”, on the 240 samples that both have" in words
    assert "Paired differences" in words
    assert "minus over-confident" in words


def test_without_calibration_rows_it_says_why_there_is_no_threshold(pair_page: Page):
    words = pair_page.text
    assert "No threshold was chosen: that needs predictions on calibration rows." in words
    assert "no calibration rows, so no trusted threshold and no isotonic reference" in words


def test_what_an_oracle_knows_is_marked_in_every_output(pair: Scorecard, pair_page: Page, tmp_path: Path):
    write_score_report(pair, tmp_path)
    console = Console(width=200, record=True, file=io.StringIO())
    for part in render_terminal(summary_document(pair)):
        console.print(part)
    for text in (pair_page.text, (tmp_path / "scorecard.md").read_text(encoding="utf-8"), console.export_text()):
        plain = text.replace("\\", "")
        named = plain.count("constant per task (calibrated)")
        assert named > 0
        assert plain.count("constant per task (calibrated) (oracle)") == named


def test_every_output_says_first_what_was_judged_and_how_much_was_unusable(single: Scorecard, tmp_path: Path):
    page = page_of(single, tmp_path)
    console = Console(width=200, record=True, file=io.StringIO())
    for part in render_terminal(summary_document(single)):
        console.print(part)
    first = scored_sentence(single.methods[0])
    assert "verbalized" in first
    for text in (page.text, (tmp_path / "scorecard.md").read_text(encoding="utf-8"), console.export_text()):
        assert 0 < text.index(first) < 200


def test_reference_methods_are_called_so_in_the_page(single: Scorecard, tmp_path: Path):
    html = write_score_report(single, tmp_path).read_text(encoding="utf-8")
    assert 'tr.reference th span::after { content: " (reference)"' in html
    assert html.count('<tr class="reference">') >= 2
    assert "floor" not in html


def test_rows_that_are_no_pictures_are_not_called_pictures(single_page: Page):
    assert not re.search(r"pictures?|images?", single_page.text, re.IGNORECASE)


def test_a_hostile_method_name_stays_text(tmp_path: Path):
    name = "<script>alert(1)</script>$x_1^2$"
    page = page_of(build_scorecard({name: predictions("m", 60)}, settings=FAST), tmp_path)
    assert page.tags["script"] == 0
    assert name in page.text


def test_a_method_that_answers_nothing_has_a_report(tmp_path: Path):
    rows = [replace(row, confidence=None, state=State.MISSING_CONFIDENCE) for row in predictions("mute", 60)]
    words = page_of(build_scorecard({"mute": rows}, settings=FAST), tmp_path).text
    assert "gave a usable answer to 0" in words
    assert "undefined" in words


def test_rows_without_task_or_group_have_a_report(tmp_path: Path):
    rows = [replace(row, task="", group="") for row in predictions("plain", 60)]
    assert "Scorecard: plain" in page_of(build_scorecard({"plain": rows}, settings=FAST), tmp_path).text


def test_the_human_row_stands_beside_every_method_held_against_a_second_panel(tmp_path: Path):
    rows = [replace(row, second_votes=row.votes, raters=10) for row in predictions("model", votes=True)]
    card = build_scorecard({"model": rows}, settings=FAST)
    write_score_report(card, tmp_path)
    text = (tmp_path / "scorecard.md").read_text(encoding="utf-8")
    section = text.split("## Against a second panel")[1].split("\n## ")[0]
    assert re.findall(r"^\| \*?(model|constant per task \(model\)|human: the first panel)", section, re.MULTILINE) == [
        "model", "constant per task (model)", "human: the first panel"]  # fmt: skip
    results = text.split("## Results")[1].split("\n## ")[0]
    assert "human" not in results
    printed = Console(file=io.StringIO(), width=80)
    for part in render_terminal(summary_document(card)):
        printed.print(part)
    shown = printed.file.getvalue().split("Against a second panel")[1]  # type: ignore[attr-defined]
    assert all(word in shown for word in ("model", "constant", "human", "Accuracy", "Agreement"))


def test_methods_that_ask_more_often_are_shown_with_what_they_cost(tmp_path: Path):
    """In the terminal too, but only where the costs differ."""
    once, often = (
        [replace(row, questions=questions, tokens=7 * questions) for row in predictions(name)]
        for name, questions in (("one answer", 1), ("votes of 8", 8))
    )
    card = build_scorecard({"one answer": once, "votes of 8": often}, settings=FAST)
    write_score_report(card, tmp_path)
    assert re.search(r"votes of 8 +\| 8.0 +\| 56.0", (tmp_path / "scorecard.md").read_text())
    alone = build_scorecard({"one answer": once}, settings=FAST)
    shown = [
        [block.caption for block in summary_document(each).opening if isinstance(block, Table)]
        for each in (card, alone)
    ]
    assert ["What an answer takes, on average" in captions for captions in shown] == [True, False]
