"""A person's own table: read in any dialect, with every fault of it in one answer."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, State
from emocaliber.reading.headers import HEADERS
from emocaliber.reading.tables import Columns, read_table

PLAIN = "confidence,correct\n0.9,1\n0.25,0\n"


def written(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def judged(rows: list[Prediction]) -> list[tuple[float | None, bool]]:
    return [(row.confidence, row.predicted == row.truth) for row in rows]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", PLAIN),
        ("ROWS.CSV", PLAIN),
        ("rows.txt", PLAIN),
        ("rows.csv", PLAIN.replace("\n", "\r\n")),
        ("rows.csv", PLAIN + "\n\n"),
        ("rows.csv", b"\xef\xbb\xbf" + PLAIN.encode()),
        ("rows.csv", PLAIN.encode("utf-16")),
        ("rows.csv.gz", gzip.compress(PLAIN.encode(), mtime=0)),
        ("rows.csv", gzip.compress(PLAIN.encode(), mtime=0)),
        ("rows.tsv", PLAIN.replace(",", "\t")),
        ("rows.csv", PLAIN.replace(",", "\t")),
        ("rows.csv", PLAIN.replace(",", ";")),
        ("rows.csv", PLAIN.replace(",", ";").replace("0.", "0,")),
        ("rows.csv", "sep=;\n" + PLAIN.replace(",", ";")),
        ("rows.csv", PLAIN.replace(",", "|")),
        ("rows.csv", PLAIN.replace(",", " , ")),
        ("rows.csv", 'Confidence,"CORRECT"\n"0.9",1.0\n2.5e-1,0.0\n'),
        ("rows.csv", "confidence,correct\n0.9,True\n0.25,FALSE\n"),
        ("rows.csv", "confidence,correct\n0.9,yes\n0.25,no\n"),
        ("rows.csv", "confidence,correct\n90%,right\n25 %,wrong\n"),
        ("rows.csv", "id,note,is_correct,model-confidence\na,x,y,0.9\nb,,n,0.25\n"),
        ("rows.csv", "confidence,prediction,truth\n0.9,joy,Joy\n0.25,fear,joy\n"),
        ("rows.jsonl", '{"confidence": 0.9, "correct": true}\n{"confidence": 0.25, "correct": 0}\n'),
        ("rows.json", '[{"conf": 0.9, "target": "a", "pred": "a"}, {"conf": 0.25, "target": "b", "pred": "a"}]'),
    ],
)
def test_every_dialect_gives_the_same_rows(tmp_path: Path, name: str, content: str | bytes):
    assert judged(read_table(written(tmp_path, content, name)).rows) == [(0.9, True), (0.25, False)]


def test_parquet_is_read_too(tmp_path: Path):
    table = pa.table({"confidence": [0.9, 0.25, None], "is_correct": [True, False, True], "dataset": ["a", "a", "b"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    rows = read_table(tmp_path / "rows.parquet").rows
    assert judged(rows) == [(0.9, True), (0.25, False), (None, True)]
    assert [row.task for row in rows] == ["a", "a", "b"]


def test_no_row_is_dropped_and_an_empty_confidence_is_missing(tmp_path: Path):
    rows = read_table(written(tmp_path, "confidence,correct,task\n0.9,1,a\n,1,a\n1,0,b\n")).rows
    assert judged(rows) == [(0.9, True), (None, True), (1.0, False)]
    assert [row.state for row in rows] == [State.OK, State.MISSING_CONFIDENCE, State.OK]
    assert [row.task for row in rows] == ["a", "a", "b"]


def test_an_empty_prediction_is_a_missing_label(tmp_path: Path):
    rows = read_table(written(tmp_path, "confidence,label,prediction\n0.9,joy,\n0.8,joy,joy\n")).rows
    assert [(row.predicted, row.state) for row in rows] == [(None, State.MISSING_LABEL), ("joy", State.OK)]


@pytest.mark.parametrize("role", HEADERS)
def test_each_recognised_header_is_read_in_its_role(tmp_path: Path, role: str):
    cells = {"confidence": "0.5", "correct": "1", "label": "joy", "prediction": "joy"}
    others = [name for name in ("confidence", "label", "prediction") if role not in (name, "correct")]
    others += ["confidence"] if role == "correct" else []
    for header in HEADERS[role]:
        names = [header.upper().replace(" ", "_"), *others]
        row = ",".join(cells.get(name, "x") for name in (role, *others))
        table = read_table(written(tmp_path, f"{','.join(names)}\n{row}\n"))
        assert table.columns[role] == names[0]


def test_a_named_column_wins_over_a_recognised_column(tmp_path: Path):
    path = written(tmp_path, "confidence,certainty,correct,mine,picture\n0.1,80,0,1,7\n")
    columns = Columns(confidence="Certainty", correct="mine", id="picture", percent=True)
    [row] = read_table(path, columns).rows
    assert (row.id, row.confidence, row.predicted == row.truth) == ("7", 0.8, True)


def test_labels_that_are_named_win_over_a_column_of_correct(tmp_path: Path):
    path = written(tmp_path, "confidence,correct,gold,answer\n0.1,0,joy,joy\n")
    assert judged(read_table(path).rows) == [(0.1, False)]
    assert judged(read_table(path, Columns(prediction="answer")).rows) == [(0.1, True)]


def test_the_description_names_the_role_of_each_renamed_column(tmp_path: Path):
    path = written(tmp_path, "model_confidence,is_correct\n90%,1\n")
    assert read_table(path).described == (
        "column 'model_confidence' is the confidence, column 'is_correct' is the correct, confidences are percentages"
    )
    assert read_table(written(tmp_path, PLAIN)).described == ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("confidence,correct\n", "holds a header line and no row"),
        ("0.9,1\n0.2,0\n", r"line 1: the header line is missing \(it is 0.9,1\)"),
        ("name,correct\na,1\n", "line 1: no column of confidences among name, correct; name it with --confidence-col"),
        ("confidence,text\n0.9,1\n", "line 1: no column that says what is correct among confidence, text"),
        (b"PK\x03\x04 and so on", "is a"),
        (b"\xd0\xcf\x11\xe0 and so on", "is an old or broken Excel file: save it as"),
        (b"PAR1 and so on", "is not a readable Parquet file"),
        ("confidence,correct\n0.9,é\n".encode("latin-1"), "is not UTF-8 text"),
        ("[1, 2", "JSON"),
    ],
)
def test_a_file_that_is_no_table_gets_its_own_sentence(tmp_path: Path, content: str | bytes, sentence: str):
    with pytest.raises(UserError, match=rf"rows\.csv,? ?{sentence}|rows\.csv: .*{sentence}"):
        read_table(written(tmp_path, content))


def test_an_excel_file_and_another_archive_get_different_errors(tmp_path: Path):
    for inside, sentence in (
        ("xl/workbook.xml", "is an Excel file that cannot be read"),
        ("rows.csv", "zip archive: unpack it"),
    ):
        with zipfile.ZipFile(tmp_path / "rows.xlsx", "w") as archive:
            archive.writestr(inside, "content")
        with pytest.raises(UserError, match=sentence):
            read_table(tmp_path / "rows.xlsx")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["confidence,correct", "0.9,1", "85,1"], r"line 3: 'confidence' 85 is outside \[0, 1\]; .* add --percent"),
        (["confidence,correct", "nan,1"], "line 2: 'confidence' 'nan' is not a number; leave it empty"),
        (["confidence,correct", "inf,1"], "line 2: 'confidence' 'inf' is not a number"),
        (["confidence,correct", "high,1"], "line 2: 'confidence' 'high' is not a number"),
        (["confidence,correct", "0.8_5,1"], "line 2: 'confidence' '0.8_5' is not a number"),
        (["confidence,correct", "-0.1,1"], r"line 2: 'confidence' -0.1 is outside \[0, 1\]$"),
        (["confidence,correct", "90%,1", "0.9,1"], "line 3: 'confidence' '0.9' has no percent sign, other rows have"),
        (["confidence,correct", "110%,1"], "line 2: 'confidence' 110% is outside 0 to 100 %"),
        (["conf,hit", "0.9,maybe"], "line 2: 'hit' must be 1 or 0, true or false, yes or no; it is 'maybe'"),
        (["confidence,correct", "0.9,"], "line 2: 'correct' must be 1 or 0"),
        (["confidence,truth,pred", "0.9,,joy"], "line 2: 'truth' is empty; every row needs its true label"),
        (["confidence,correct", "0.9"], "line 2: it has 1 fields, the header 2"),
        (["confidence,correct", "0.9,1,2"], "line 2: it has 3 fields, the header 2"),
        (["id,confidence,correct", "a,0.9,1", "a,0.9,1"], "line 3: 'id' 'a' is that of line 2 too"),
    ],
)
def test_a_fault_names_line_and_column(tmp_path: Path, lines: list[str], message: str):
    with pytest.raises(UserError, match=rf"rows\.csv, {message}"):
        read_table(written(tmp_path, "\n".join(lines) + "\n"))


def test_all_faults_are_counted_and_the_first_are_shown(tmp_path: Path):
    path = written(tmp_path, "confidence,correct\n" + "78,1\n" * 30 + "0.5,maybe\n" * 5)
    with pytest.raises(UserError) as error:
        read_table(path)
    lines = str(error.value).splitlines()
    assert "35 faults in 35 rows" in lines[0]
    assert "add --percent" in lines[0]
    assert len(lines) == 12
    assert lines[-1] == "  … and 25 more"


def test_a_mistyped_column_has_a_suggestion(tmp_path: Path):
    path = written(tmp_path, "certainty,correct\n0.9,1\n")
    with pytest.raises(UserError, match="--confidence-column: there is no column 'certanty'; did you mean 'certainty'"):
        read_table(path, Columns(confidence="certanty"))


@given(st.lists(st.tuples(st.none() | st.integers(0, 100), st.booleans()), min_size=1, max_size=20), st.booleans())
def test_rows_in_are_rows_out(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int | None, bool]], js: bool):
    folder = tmp_path_factory.mktemp("tables")
    if js:
        text = "".join(json.dumps({"conf": None if c is None else c / 100, "right": r}) + "\n" for c, r in rows)
    else:
        text = "conf,right\n" + "".join(f"{'' if c is None else c / 100},{r}\n" for c, r in rows)
    assert judged(read_table(written(folder, text)).rows) == [(None if c is None else c / 100, r) for c, r in rows]


def test_a_long_field_is_read_and_the_limit_is_the_process_own_again_afterwards(tmp_path: Path):
    before = csv.field_size_limit()
    path = written(tmp_path, "confidence,correct,explanation\n0.5,1," + "x" * 200_000 + "\n")
    assert judged(read_table(path).rows) == [(0.5, True)]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(("joy", "fear"), [("joyful", "afraid"), ("0", "1")])
def test_predictions_in_other_words_than_the_labels_are_pointed_out(tmp_path: Path, joy: str, fear: str) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(f"prediction,label,confidence\n{joy},joy,0.9\n{fear},fear,0.8\n")
    assert "is any row's label ('fear', 'joy'), so that all count as wrong" in read_table(path).described
    path.write_text("prediction,label,confidence\njoy,joy,0.9\njoy,fear,0.8\n")
    assert read_table(path).described == ""
