"""Headers as people write them are recognised; where they are not, the error names the options to give."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.reading.tables import Columns, Table, read_table
from emocaliber.reading.vlmevalkit_tables import is_vlmevalkit_table

ROWS = [("img_1.jpg", "Fear", "90", "fear"), ("img_2.jpg", "Joy", "25", "fear"), ("img_3.jpg", "Fear", "60", "Fear"),
        ("img_4.jpg", "Joy", "25", "Joy")]  # fmt: skip


def written(folder: Path, *lines: tuple[str, ...]) -> Path:
    path = folder / "answers.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


def judged(table: Table) -> list[tuple[float | None, bool]]:
    return [(row.confidence, row.predicted == row.truth) for row in table.rows]


@pytest.mark.parametrize(
    "header",
    [
        ("File name", "Predicted emotion", "Confidence (%)", "Ground truth"),
        ("Image", "emotion (predicted)", "confidence in %", "Emotion (true)"),
        ("Photo", "Model's prediction", "Confidence, percent", "True emotion"),
        ("Filename", "Emotion", "Certainty %", "Annotated emotion"),
        ("Picture", "predicted_class", "How sure? (%)", "Emotion"),
        ("image_path", "Model answer", "Prediction confidence [%]", "Correct emotion"),
    ],
)
def test_headers_as_people_write_them_are_recognised(tmp_path: Path, header: tuple[str, ...]):
    table = read_table(written(tmp_path, header, *ROWS))
    assert judged(table) == [(0.9, True), (0.25, False), (0.6, True), (0.25, True)]
    assert [row.id for row in table.rows] == [row[0] for row in ROWS]
    assert table.percent


def test_shares_under_a_header_with_a_percent_sign_stay_shares(tmp_path: Path):
    path = written(tmp_path, ("Confidence (%)", "correct?"), ("0.9", "yes"), ("0.25", "no"))
    assert judged(read_table(path)) == [(0.9, True), (0.25, False)]


def test_a_picture_that_stands_in_several_rows_is_their_cluster(tmp_path: Path):
    path = written(tmp_path, ("File name", "confidence", "correct"), ("a.jpg", "1", "1"), ("a.jpg", "0", "0"))
    table = read_table(path)
    assert [(row.id, row.cluster) for row in table.rows] == [("1", "a.jpg"), ("2", "a.jpg")]
    assert table.numbered


@pytest.mark.parametrize(
    ("header", "rows", "options"),
    [
        (("Bild", "Sicherheit", "Richtig?"), [("1", "0.7", "yes"), ("2", "0.9", "no"), ("3", "0.7", "yes")],
         "--confidence-column Sicherheit --correct-column 'Richtig?'"),
        (("judged", "model says", "sure"), [("joy", "joy", "70"), ("fear", "joy", "80"), ("joy", "fear", "80")],
         "--confidence-column sure --label-column judged --prediction-column 'model says'"),
        (("prediction", "rated", "confidence"), [("joy", "fear", "0.7"), ("fear", "joy", "0.2")],
         "--label-column rated"),
    ],
)  # fmt: skip
def test_what_is_not_recognised_is_suggested_by_its_cells(
    tmp_path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]], options: str
):
    with pytest.raises(UserError, match="perhaps: ") as error:
        read_table(written(tmp_path, header, *rows))
    assert f"perhaps: {options}" in str(error.value)


def test_confidences_of_another_scale_are_told_what_to_do(tmp_path: Path):
    path = written(tmp_path, ("confidence", "correct"), ("3", "1"), ("5", "0"))
    with pytest.raises(UserError, match="add --percent; on a scale up to 5, divide them by it"):
        read_table(path)
    assert read_table(path, Columns(percent=True)).rows[0].confidence == 0.03
    path = written(tmp_path, ("confidence", "correct"), ("low", "1"), ("high", "0"))
    with pytest.raises(UserError, match="give each word a number from 0 to 1"):
        read_table(path)


def test_a_table_with_confidences_of_its_own_is_no_result_of_vlmevalkit():
    assert is_vlmevalkit_table(["index", "answer", "prediction"])
    assert not is_vlmevalkit_table(["index", "answer", "prediction", "Confidence (%)"])
