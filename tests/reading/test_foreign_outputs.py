"""Others' outputs: EmoCaliber's merged JSONL and a CSV."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import State
from emocaliber.reading.foreign_outputs import is_merged, read_csv, read_merged
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
    assert is_merged(path)
    assert [(row.predicted, row.confidence) for row in rows[:1]] == [("anger", 0.85)]
    assert len(rows) == 6
    assert [row.state is State.OK for row in rows] == [True, False, False, False, False, False]
    assert {row.truth for row in rows} == {"anger"}
    assert len({row.id for row in rows}) == 6


def test_a_truth_outside_the_candidates_is_an_error_that_names_the_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"merged\.jsonl, line 1: 'ground_truth' 'joy'"):
        list(read_merged(_merged(tmp_path, "", truth="joy")))


def test_a_prediction_file_is_not_taken_for_merged_output(tmp_path: Path):
    from emocaliber.core.predictions import write_predictions

    path = tmp_path / "predictions.jsonl"
    write_predictions(path, predictions(n=2))
    assert not is_merged(path)


def test_a_csv_keeps_every_row_and_an_empty_confidence_is_a_refusal(tmp_path: Path):
    rows = list(read_csv(_csv(tmp_path, "confidence,correct,task", "0.9,1,a", ",1,a", "1,0,b")))
    assert [row.confidence for row in rows] == [0.9, None, 1.0]
    assert [row.state for row in rows] == [State.OK, State.MISSING_CONFIDENCE, State.OK]
    assert [row.predicted == row.truth for row in rows] == [True, True, False]
    assert [row.task for row in rows] == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["conf,right", "0.9,1"], "line 1: the header must be"),
        (["confidence,correct", "0.9,1", "85,1"], r"line 3: 'confidence' 85 is outside \[0, 1\]"),
        (["confidence,correct", "nan,1"], "line 2: 'confidence' nan is outside"),
        (["confidence,correct", "high,1"], "line 2: 'confidence' 'high' is not a number"),
        (["confidence,correct", "0.8_5,1"], "line 2: 'confidence' '0.8_5' is not a number"),
        (["confidence,correct", "0.9,yes"], "line 2: 'correct' must be 0 or 1"),
        (["confidence,correct", "0.9"], "line 2: it does not have as many fields"),
        (["confidence,correct", "0.9,1,2"], "line 2: it does not have as many fields"),
    ],
)
def test_a_bad_csv_is_an_error_that_names_line_and_column(tmp_path: Path, lines: list[str], message: str):
    with pytest.raises(UserError, match=rf"rows\.csv, {message}"):
        list(read_csv(_csv(tmp_path, *lines)))


def _csv(folder: Path, *lines: str) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
