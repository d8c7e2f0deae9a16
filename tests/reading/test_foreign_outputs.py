"""Files of any origin: EmoCaliber's merged output is read as it comes, and each kind is known by its content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import State, write_predictions
from emocaliber.reading.foreign_outputs import is_table, read_lines, read_merged
from tests.prediction_rows import predictions

CANDIDATES = ["amusement", "anger", "awe", "sadness"]


def _merged(folder: Path, *responses: str | None, truth: str = "Anger") -> Path:
    path = folder / "merged.jsonl"
    rows = [
        {"response": text, "ground_truth": truth, "candidates": CANDIDATES, "task": "FI-8", "confidence": 0.99}
        for text in responses
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_response_keeps_its_row_and_is_read_as_everywhere_else(tmp_path: Path):
    path = _merged(
        tmp_path,
        "<think>danger, awesome</think><answer>anger</answer><confidence>0.85</confidence>",
        "<think>x</think><answer>awesome</answer><confidence>0.85</confidence>",
        "<answer>anger</answer><confidence>very</confidence>",
        "<answer>anger</answer>",
        "",
        None,
    )
    rows = list(read_merged(path))
    assert not is_table(path)
    assert list(read_lines(path)) == rows
    assert [(row.predicted, row.confidence) for row in rows[:1]] == [("anger", 0.85)]
    assert len(rows) == 6
    assert [row.state is State.OK for row in rows] == [True, False, False, False, False, False]
    assert {row.truth for row in rows} == {"anger"}
    assert len({row.id for row in rows}) == 6


def test_a_truth_outside_the_candidates_is_an_error_that_names_the_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"merged\.jsonl, line 1: 'ground_truth' 'joy'"):
        list(read_merged(_merged(tmp_path, "", truth="joy")))


def test_each_kind_of_file_is_known_by_its_content(tmp_path: Path):
    rows, path = predictions(n=2), tmp_path / "predictions.csv"
    write_predictions(path, rows)
    assert not is_table(path)
    assert list(read_lines(path)) == rows
    path.write_text(json.dumps([json.loads(line) for line in path.read_text().splitlines()], indent=1))
    assert not is_table(path)
    assert list(read_lines(path)) == rows
    path.write_text("confidence,correct\n0.9,1\n")
    assert is_table(path)
    path.write_text('{"confidence": 0.9, "correct": 1}\n')
    assert is_table(path)


def test_merged_output_comes_with_marks_lists_and_text(tmp_path: Path):
    path = _merged(tmp_path, "<answer>anger</answer><confidence>0.85</confidence>")
    line = json.loads(path.read_text())
    expected = list(read_merged(path))
    for change in ({"response": [line["response"]]}, {"candidates": ", ".join(CANDIDATES)}):
        path.write_text(json.dumps(line | change) + "\n")
        assert list(read_merged(path)) == expected
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(line).encode() + b"\n")
    assert list(read_lines(path)) == expected
    path.write_text(json.dumps(line | {"response": ["a", "b"]}) + "\n")
    with pytest.raises(UserError, match="line 1: 'response' holds 2 texts; write one line for each"):
        list(read_merged(path))


def test_a_line_that_lacks_a_key_gets_an_error_that_lists_them(tmp_path: Path):
    path = tmp_path / "merged.jsonl"
    path.write_text('{"response": "joy", "labels": "joy"}\n')
    with pytest.raises(UserError, match="`ground_truth`; the keys are response, ground_truth, candidates, task"):
        list(read_lines(path))
