"""Tables mark floors, say in words what is missing, and name the rows that they are about."""

from __future__ import annotations

from dataclasses import replace

from emocaliber.evaluation.scorecard import Difference, Estimate, PublishedFigure, Scorecard
from emocaliber.reporting.document import Cell
from emocaliber.reporting.tables import (
    ambiguity_table,
    answered_table,
    difference_cell,
    headline_table,
    number,
    published_table,
    scope_title,
    states_table,
    trusted_table,
    value_cell,
)


def test_what_is_undefined_and_what_does_not_apply_are_told_apart():
    assert value_cell(Estimate(None)) == Cell("not defined")
    assert value_cell(None) == Cell("does not apply")


def test_a_value_comes_with_its_interval():
    assert value_cell(Estimate(0.5, 0.45, 0.55)) == Cell("0.500", "0.450 to 0.550")
    assert value_cell(Estimate(0.5)) == Cell("0.500")


def test_a_difference_carries_its_sign_and_its_meaning():
    assert difference_cell(Difference(-0.02, -0.03, -0.01), "brier") == Cell("−0.020", "−0.030 to −0.010; better")


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert number(-0.0001, "+.3f") == "0.000"
    assert number(-0.01, "+.3f") == "−0.010"


def test_a_count_has_no_decimals():
    assert value_cell(Estimate(1016.0)) == Cell("1,016")
    assert value_cell(Estimate(1.0)) == Cell("1.000")


def test_pooled_and_macro_are_labelled(pair: Scorecard):
    first = pair.method("calibrated")
    assert scope_title(first.find("all")) == "All tasks, all rows together (n = 240)"
    assert scope_title(first.find("all", "all", "macro")) == "All tasks, mean over 2 tasks (n = 240)"
    assert scope_title(first.find("task", "emoji")) == "Task “emoji” (n = 60)"


def test_floors_stand_in_the_headline_table_and_are_marked(pair: Scorecard):
    table = headline_table(pair.methods, pair.methods[0].find("all"))
    floors = {table.rows[index][0].text for index in table.floors}
    assert floors == {one.name for one in pair.methods if one.role == "reference"}
    assert floors


def test_every_row_is_in_one_state(single: Scorecard):
    method = single.method("tiny")
    table = states_table([method], method.find("all"))
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert int(row["Usable"].text) + int(row["missing confidence"].text) == int(row["Asked"].text) == 240


def test_the_table_of_answered_rows_is_there_only_where_some_are_missing(single: Scorecard, pair: Scorecard):
    assert answered_table([single.method("tiny")], single.method("tiny").find("all")) is not None
    assert answered_table([pair.method("calibrated")], pair.method("calibrated").find("all")) is None


def test_trusted_metrics_say_where_the_threshold_was_chosen(single: Scorecard, pair: Scorecard):
    table = trusted_table([single.method("tiny")], single.method("tiny").find("all"))
    assert {row[2].text for row in table.rows} == {"calibration rows"}
    assert trusted_table(pair.methods, pair.methods[0].find("all")) is None


def test_raters_strata_are_shown_where_there_are_votes(single: Scorecard, pair: Scorecard):
    table = ambiguity_table(single.method("tiny"))
    assert {"task “emoji”", "majority", "no majority"} <= {row[0].text for row in table.rows}
    assert ambiguity_table(pair.method("calibrated")) is None


def test_published_figures_stand_beside_ours_and_a_scope_that_we_lack_does_not_apply(single: Scorecard):
    figures = [
        PublishedFigure("TER", "task", "emoji", "pooled", "trusted_f1", 0.9035, "its table 2"),
        PublishedFigure("TER", "task", "music", "pooled", "accuracy", 0.8240, "its table 2"),
    ]
    table = published_table(replace(single, published=figures))
    best = next(one for one in single.method("tiny").find("task", "emoji").trusted if one.rule == "best F1")
    assert table.rows[0][4].text == f"{best.f1.value:.3f}"
    assert table.rows[1][4].text == "does not apply"
