"""Tables mark reference methods and oracles, and name the rows that they are about."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Estimate, PublishedFigure, Scorecard
from emocaliber.reporting.document import Cell
from emocaliber.reporting.tables import (
    ambiguity_table,
    answered_table,
    headline_table,
    number,
    published_table,
    states_table,
    subset_title,
    trusted_table,
    value_cell,
)
from tests.reporting.synthetic import FAST, predictions


def test_what_is_undefined_and_what_does_not_apply_differ():
    assert value_cell(Estimate(None)) == Cell("undefined")
    assert value_cell(None) == Cell("n/a")


def test_a_value_comes_with_its_interval():
    assert value_cell(Estimate(0.5, 0.45, 0.55)) == Cell("0.500", "0.450 to 0.550")
    assert value_cell(Estimate(0.5)) == Cell("0.500")


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert number(-0.0001, "+.3f") == "0.000"
    assert number(-0.01, "+.3f") == "−0.010"


def test_a_count_has_no_decimals():
    assert value_cell(Estimate(1016.0)) == Cell("1,016")
    assert value_cell(Estimate(1.0)) == Cell("1.000")


def test_pooled_and_macro_are_labelled(pair: Scorecard):
    first = pair.method("calibrated")
    assert subset_title(first.find("all")) == "All rows, 2 tasks pooled (n = 240)"
    assert subset_title(first.find("all", "all", "macro")) == "All rows, mean over 2 tasks (n = 240)"
    assert subset_title(first.find("task", "emoji")) == "Task “emoji” (n = 60)"


def test_reference_methods_stand_in_the_headline_table_and_are_marked(pair: Scorecard, single: Scorecard):
    table = headline_table(pair.methods, pair.methods[0].find("all"))
    marked = {table.rows[index][0].text for index in table.references}
    assert marked == {f"{method.name} (oracle)" for method in pair.methods if method.role == "reference"}
    table = headline_table(single.methods, single.methods[0].find("all"))
    marked = {table.rows[index][0].text for index in table.references}
    assert marked == {"constant per task (tiny)", "isotonic (tiny)"}


def test_a_column_that_applies_to_no_row_is_left_out():
    rows = [structs.replace(row, truth="a", predicted="a" if row.predicted == row.truth else "b")
            for row in predictions("m", 60)]  # fmt: skip
    card = build_scorecard({"m": rows}, settings=FAST)
    table = headline_table(card.methods, card.methods[0].find("all"))
    assert "Weighted F1 ↑" not in table.header
    assert {len(row) for row in table.rows} == {len(table.header)}
    assert all(cell.text != "n/a" for row in table.rows for cell in row)


def test_every_row_is_in_one_state(single: Scorecard):
    method = single.method("tiny")
    table = states_table([method], method.find("all"))
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert int(row["Usable"].text) + int(row["missing confidence"].text) == int(row["Rows"].text) == 240


def test_the_table_of_answered_rows_is_there_only_where_some_are_missing(single: Scorecard, pair: Scorecard):
    assert answered_table([single.method("tiny")], single.method("tiny").find("all")) is not None
    assert answered_table([pair.method("calibrated")], pair.method("calibrated").find("all")) is None


def test_trusted_metrics_say_where_the_threshold_was_chosen(single: Scorecard, pair: Scorecard):
    table = trusted_table([single.method("tiny")], single.method("tiny").find("all"))
    assert {row[2].text for row in table.rows} == {"calibration rows"}
    assert trusted_table(pair.methods, pair.methods[0].find("all")) is None


def test_annotator_strata_are_shown_where_there_are_votes(single: Scorecard, pair: Scorecard):
    table = ambiguity_table(single.method("tiny"))
    assert {"task “emoji”", "majority", "no majority"} <= {row[0].text for row in table.rows}
    assert ambiguity_table(pair.method("calibrated")) is None


def test_published_figures_stand_beside_ours_and_a_subset_that_we_lack_does_not_apply(single: Scorecard):
    figures = [
        PublishedFigure("TER", "task", "emoji", "pooled", "trusted_f1", 0.9035, "its table 2"),
        PublishedFigure("TER", "task", "music", "pooled", "accuracy", 0.8240, "its table 2"),
    ]
    table = published_table(replace(single, published=figures))
    best = next(at for at in single.method("tiny").find("task", "emoji").trusted if at.rule == "best F1")
    assert table.rows[0][4].text == f"{best.f1.value:.3f}"
    assert table.rows[1][4].text == "n/a"
