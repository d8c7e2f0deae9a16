"""Examples are chosen by confidence, the same ones for every order of the rows; what was written is read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from emocaliber.core.errors import UserError
from emocaliber.reporting.run_summary import RunSummary, choose_examples, read_run_summary
from tests.reporting.synthetic import picture, predictions


def test_mistakes_are_the_surest_wrong_answers_and_hits_the_least_sure_right_ones():
    rows = predictions("m", 100)
    chosen = choose_examples(rows, picture, str, each=5)
    wrong = [row.confidence for row in rows if row.predicted != row.truth]
    right = [row.confidence for row in rows if row.predicted == row.truth]
    mistakes = [example.confidence for example in chosen if example.kind == "confident mistake"]
    hits = [example.confidence for example in chosen if example.kind == "doubtful hit"]
    assert mistakes == sorted(wrong, reverse=True)[:5]
    assert hits == sorted(right)[:5]


def test_the_choice_does_not_depend_on_the_order_of_the_rows():
    rows = predictions("m", 100)
    assert choose_examples(rows, picture, str) == choose_examples(rows[::-1], picture, str)


def test_rows_without_label_or_confidence_are_no_examples():
    rows = predictions("m", 60, unusable=1.0)
    assert choose_examples(rows, picture, str) == []


def test_only_the_first_of_a_cluster_is_shown():
    rows = [replace(row, cluster=f"{index // 10}") for index, row in enumerate(predictions("m", 60))]
    clusters = {row.id: row.cluster for row in rows}
    mistakes = [example for example in choose_examples(rows, picture, str) if example.kind == "confident mistake"]
    surest = {}
    for row in rows:
        if row.predicted != row.truth:
            surest[row.cluster] = max(row.confidence, surest.get(row.cluster, 0.0))
    assert {clusters[example.id]: example.confidence for example in mistakes} == surest
    assert [example.confidence for example in mistakes] == sorted(surest.values(), reverse=True)


def test_a_run_s_files_are_read_as_what_was_written(run: RunSummary, run_folder: Path):
    again = read_run_summary(run_folder)
    assert again.to_json() == run.to_json()
    assert again.scorecard.to_json() == run.scorecard.to_json()


@pytest.mark.parametrize("damaged", ["report.json", "scorecard.json"])
def test_a_missing_or_damaged_file_is_named(run_folder: Path, tmp_path: Path, damaged: str):
    for name in ("report.json", "scorecard.json"):
        (tmp_path / name).write_bytes((run_folder / name).read_bytes()[: 100 if name == damaged else None])
    with pytest.raises(UserError, match="cannot be read"):
        read_run_summary(tmp_path)
    (tmp_path / damaged).unlink()
    with pytest.raises(UserError, match=f"{damaged}: there is no such file"):
        read_run_summary(tmp_path)
