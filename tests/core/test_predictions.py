"""Prediction files: what is written is read, and what is bad is named."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from emocaliber.core.errors import UserError
from emocaliber.core.prediction_files import write_rows
from emocaliber.core.prediction_table import PredictionTable, split_by_method
from emocaliber.core.predictions import Prediction, Source, State, read_predictions, to_line, write_predictions
from tests.prediction_rows import LABELS, predictions

SHARE = st.floats(0, 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PREDICTIONS = st.builds(
    Prediction,
    *[TEXT] * 5,
    predicted=TEXT,
    confidence=SHARE,
    state=st.sampled_from(State),
    source=st.sampled_from(Source),
    method=TEXT,
    votes=st.none() | st.dictionaries(TEXT, st.integers(1, 99), min_size=1, max_size=3),
    distribution=st.none() | st.dictionaries(TEXT, st.floats(0.1, 1), min_size=1, max_size=3),
    probability=st.none() | SHARE,
    raters=st.none() | st.integers(99, 999),
    second_votes=st.none() | st.dictionaries(TEXT, st.integers(1, 99), min_size=1, max_size=3),
)
GOOD = json.loads(to_line(predictions(votes=True, distribution=True)[0]))


@pytest.mark.parametrize(
    ("column", "cell"),
    [("confidence", "high"), ("raters", "3.5"), ("votes", "{joy: 3}"), ("signals", "[1"), ("hidden", "not base64!")],
)
def test_a_malformed_cell_of_a_csv_file_is_named_with_its_row_and_column(tmp_path: Path, column: str, cell: str):
    path = tmp_path / "predictions.csv"
    write_rows(path, predictions()[:2])
    header, first, second = path.read_text().splitlines()
    cells = second.split(",")
    cells[header.split(",").index(column)] = cell
    path.write_text("\n".join((header, first, ",".join(cells))) + "\n")
    with pytest.raises(UserError, match=rf"predictions\.csv, row 2, '{column}' is '{re.escape(cell)}'"):
        list(read_predictions(path))


@given(st.lists(PREDICTIONS, max_size=5))
def test_what_is_written_is_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[Prediction]):
    path = tmp_path_factory.mktemp("files") / "predictions.jsonl"
    write_predictions(path, rows)
    assert list(read_predictions(path)) == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 85}, r"\$\.confidence"),
        ({"confidence": "0.85"}, r"\$\.confidence"),
        ({"confidence": True}, r"\$\.confidence"),
        ({"confidence": None}, "'state' is 'ok'"),
        ({"predicted": None}, "'state' is 'ok'"),
        ({"predicted": 3}, r"\$\.predicted"),
        ({"state": "fine"}, "'fine'.*it is one of 'ok', 'missing label'"),
        ({"source": "guess"}, "'guess'.*it is one of 'verbalized', 'expected'"),
        ({"id": 7}, r"\$\.id"),
        ({"votes": {"joy": -1}}, r"\$\.votes"),
        ({"votes": {"joy": 0}}, "'votes' holds no vote"),
        ({"votes": {"joy": 3}, "raters": 2}, "2 'raters' cannot have given"),
        ({"second_votes": {"joy": 0}}, "'second_votes' holds no vote"),
        ({"distribution": {"joy": 1.2}}, r"\$\.distribution"),
        ({"distribution": {"joy": 0.0}}, "no positive share"),
        ({"extra": 1}, "unknown field `extra`; the keys are id, task, .* and optionally votes"),
    ],
)
def test_a_bad_value_is_an_error_that_names_file_line_and_key(tmp_path: Path, change: dict[str, object], message: str):
    path = _file(tmp_path, json.dumps(GOOD), json.dumps(GOOD | change))
    with pytest.raises(UserError, match=rf"predictions\.jsonl, line 2: .*{message}"):
        list(read_predictions(path))


@pytest.mark.parametrize("key", sorted(set(GOOD) - {"votes", "distribution", "probability"}))
def test_a_missing_key_is_an_error_that_names_it(tmp_path: Path, key: str):
    path = _file(tmp_path, json.dumps({name: value for name, value in GOOD.items() if name != key}))
    with pytest.raises(UserError, match=f"line 1: .*`{key}`"):
        list(read_predictions(path))


def test_marks_gzip_and_a_json_list_are_read_as_lines(tmp_path: Path):
    rows, path = predictions(n=3), tmp_path / "predictions.jsonl"
    write_predictions(path, rows)
    lines = path.read_bytes()
    as_list = json.dumps([json.loads(line) for line in lines.splitlines()], indent=1).encode()
    utf16 = lines.decode().encode("utf-16")
    for content in (b"\xef\xbb\xbf" + lines, lines.replace(b"\n", b"\r\n"), gzip.compress(lines), utf16, as_list):
        path.write_bytes(content)
        assert list(read_predictions(path)) == rows
    path.write_bytes(gzip.compress(lines)[:-9])
    with pytest.raises(UserError, match=r"predictions\.jsonl cannot be read"):
        list(read_predictions(path))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_a_number_is_an_error_that_shows_where(tmp_path: Path, constant: str):
    text = json.dumps(GOOD).replace(f'"confidence": {GOOD["confidence"]}', f'"confidence": {constant}')
    with pytest.raises(UserError, match=r"line 1: .*\"confidence\": "):
        list(read_predictions(_file(tmp_path, text)))


def test_a_torn_last_line_is_an_error_and_not_a_lost_row(tmp_path: Path):
    path = _file(tmp_path, json.dumps(GOOD), json.dumps(GOOD)[:40])
    with pytest.raises(UserError, match="line 2: JSON is malformed"):
        list(read_predictions(path))


def test_a_blank_line_may_end_a_file_but_not_hide_in_it(tmp_path: Path):
    assert len(list(read_predictions(_file(tmp_path, json.dumps(GOOD), "", "")))) == 1
    with pytest.raises(UserError, match="line 2 is blank"):
        list(read_predictions(_file(tmp_path, json.dumps(GOOD), "", json.dumps(GOOD))))


def test_a_missing_file_and_a_binary_file_are_errors_that_name_it(tmp_path: Path):
    with pytest.raises(UserError, match=r"nothing\.jsonl cannot be read"):
        list(read_predictions(tmp_path / "nothing.jsonl"))
    path = tmp_path / "binary.jsonl"
    path.write_bytes(json.dumps(GOOD).encode().replace(b"emoji", b"\xff\xfe"))
    with pytest.raises(UserError, match=r"binary\.jsonl, line 1"):
        list(read_predictions(path))


def test_a_row_that_no_reader_would_take_is_not_written(tmp_path: Path):
    for bad in (float("nan"), 1.5):
        with pytest.raises(ValueError, match="'emoji/0'"):
            write_predictions(tmp_path / "out.jsonl", [replace(predictions(n=1)[0], confidence=bad)])


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path):
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, predictions(n=3))
    before = path.read_bytes()

    def failing() -> Iterator[Prediction]:
        yield from predictions(n=2)
        raise RuntimeError("the engine stopped")

    with pytest.raises(RuntimeError):
        write_predictions(path, failing())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_holds_what_the_rows_hold():
    rows = predictions(refuse=0.2, votes=True, distribution=True)
    table = PredictionTable.from_predictions(rows)
    assert table.labels == tuple(sorted(LABELS))
    for number, row in enumerate(rows):
        assert table.ids[number] == row.id
        assert table.labels[table.truth[number]] == row.truth
        assert (None if table.predicted[number] < 0 else table.labels[table.predicted[number]]) == row.predicted
        assert table.usable()[number] == (row.state is State.OK)
        assert table.confidence[number] == row.confidence or row.confidence is None
        assert table.votes is not None
        assert dict(zip(table.labels, table.votes[number], strict=True)) == row.votes


def test_a_table_does_not_depend_on_the_order_of_first_appearance():
    rows = predictions(votes=True)
    forward, backward = PredictionTable.from_predictions(rows), PredictionTable.from_predictions(rows[::-1])
    assert forward.labels == backward.labels
    assert (forward.truth == backward.truth[::-1]).all()


def test_taking_rows_keeps_each_whole():
    table = PredictionTable.from_predictions(predictions(votes=True, distribution=True))
    taken = table.take(table.truth.argsort())
    assert sorted(taken.ids.tolist()) == sorted(table.ids.tolist())
    where = taken.ids.tolist().index("emoji/5")
    assert (taken.truth[where], taken.confidence[where]) == (table.truth[5], table.confidence[5])


def test_a_repeated_id_is_an_error_that_names_it_and_a_second_method_is_not():
    rows = predictions()
    with pytest.raises(UserError, match="id 'emoji/0' twice, in its rows 1 and 61"):
        split_by_method([*rows, rows[0]])
    assert set(split_by_method([*rows, *predictions("other")])) == {"model", "other"}


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "predictions.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
