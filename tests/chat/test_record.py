"""The record counts what was stated and what was right, for a confidence and for a threshold."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from emocaliber.chat.record import LEAST_ANSWERS, Record, Stated, TaskRecord, read_record, record_of, write_record
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State, write_predictions

ROW = Prediction("1", "t", "", "1", "joy", "joy", 0.8, State.OK, Source.VERBALIZED, "m")
RIGHT = [replace(ROW, id=f"r{n}") for n in range(80)]
WRONG = [replace(ROW, id=f"w{n}", predicted="awe") for n in range(20)]
LOW = [replace(ROW, id=f"l{n}", confidence=0.3, predicted="awe") for n in range(60)]
REFUSED = [replace(ROW, id="x", predicted=None, confidence=None, state=State.EMPTY)]


def task() -> TaskRecord:
    record = record_of([*RIGHT, *WRONG, *LOW, *REFUSED]).task_with(["awe", "joy"])
    assert record is not None
    return record


def test_a_confidence_is_judged_by_the_answers_that_stated_it():
    similar = task().similar(0.8)
    assert similar is not None
    assert (similar.right, similar.answers, similar.low, similar.high) == (80, 100, 0.8, 0.8)


def test_a_value_stated_too_rarely_is_judged_with_its_neighbours():
    record = TaskRecord("t", ("a", "b"), (Stated(0.7, 60, 30), Stated(0.75, 2, 2), Stated(0.8, 60, 50)), 0)
    similar = record.similar(0.75)
    assert similar is not None
    assert (similar.right, similar.answers, similar.low, similar.high) == (82, 122, 0.7, 0.8)


def test_an_empty_record_has_no_similar_answers():
    assert TaskRecord("t", ("a",), (), 3).similar(0.5) is None
    assert TaskRecord("t", ("a",), (), 3).selection(0.5).accuracy is None


def test_a_threshold_counts_the_value_itself_and_refusals_as_not_covered():
    selection = task().selection(0.8)
    assert selection.coverage == pytest.approx(100 / 161)
    assert selection.accuracy == pytest.approx(0.8)


def test_above_every_value_nothing_is_trusted_and_no_accuracy_is_made_up():
    assert task().selection(0.81).coverage == 0
    assert task().selection(0.81).accuracy is None


def test_a_record_belongs_to_its_candidates_in_any_order_and_to_no_others():
    record = record_of(RIGHT + WRONG)
    assert record.task_with(["joy", "awe"]) == record.task_with(["awe", "joy"])
    assert record.task_with(["joy", "awe", "fear"]) is None
    assert Record().task_with(["joy"]) is None


def test_the_written_record_is_the_read_one_and_the_same_as_from_predictions(tmp_path: Path):
    record = record_of(RIGHT + WRONG + REFUSED)
    write_record(tmp_path / "calibration.json", record)
    write_predictions(tmp_path / "stated.jsonl", RIGHT + WRONG + REFUSED)
    assert read_record(tmp_path / "calibration.json") == record
    assert read_record(tmp_path / "stated.jsonl") == record


@pytest.mark.parametrize("content", ["", "{", '{"tasks": 3}', '{"task": []}'])
def test_a_broken_record_is_an_error_that_names_the_file(tmp_path: Path, content: str):
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(UserError, match=r"calibration\.json"):
        read_record(tmp_path / "calibration.json")


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 90), st.floats(0, 1)), min_size=1, unique_by=lambda t: t[0]),
    st.floats(0, 1),
)
def test_similar_answers_are_enough_answers_or_all_of_them(rows: list[tuple[int, int, float]], confidence: float):
    stated = tuple(Stated(level / 20, n, round(n * share)) for level, n, share in sorted(rows))
    similar = TaskRecord("t", ("a",), stated, 0).similar(confidence)
    total = sum(row.answers for row in stated)
    assert similar is not None
    assert similar.answers >= min(LEAST_ANSWERS, total)
    assert 0 <= similar.right <= similar.answers <= total
