"""`score --by`: columns of the judged table, of a joined one, of the rows; what is said where they are not there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import write_predictions
from emocaliber.runs.scoring import score_files
from tests.prediction_rows import predictions


def _predicted(folder: Path) -> Path:
    path = folder / "answers.jsonl"
    write_predictions(path, predictions(n=120))
    return path


def _faces(folder: Path, name: str = "faces.csv", header: str = "id,Age,camera") -> Path:
    path = folder / name
    lines = [f"emoji/{row},{20 + row % 40},{'AB'[row % 2]}" for row in range(119)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_table_is_joined_by_id_and_the_report_says_what_was_found(tmp_path: Path):
    out = tmp_path / "out"
    card = score_files(
        [_predicted(tmp_path)], by=["age", "camera", "truth"], groups=[_faces(tmp_path)], out=out, replicates=50
    )
    [audit] = card.audits
    by_column = {group.column: 0 for group in audit.groups}
    for group in audit.groups:
        by_column[group.column] += group.n
    assert by_column == {"age": 120, "camera": 120, "truth": 120}
    assert [group.name for group in audit.groups if group.column == "camera"] == ["A", "B", "no value"]
    assert audit.groups[-1].name == "positive"
    assert "model: 1 of 120 rows have no value of 'age'" in card.notes
    stored = msgspec.json.decode((out / "scorecard.json").read_bytes())
    assert stored["audits"][0]["edges"]["age"][0] == 20
    for file in ("scorecard.md", "report.html"):
        text = (out / file).read_text()
        assert "Westfall–Young" in text
        assert "cut at its quantiles" in text


def test_a_column_of_the_judged_table_and_one_without_ids_that_was_predicted_on(tmp_path: Path):
    own = tmp_path / "mine.csv"
    own.write_text("confidence,correct,source\n" + "".join(f"0.{5 + n % 5},{n % 2},{'xy'[n % 2]}\n" for n in range(60)))
    [audit] = score_files([own], by=["Source"], replicates=50).audits
    assert [(group.name, group.values["accuracy"].value) for group in audit.groups] == [("x", 0.0), ("y", 1.0)]
    assert audit.groups[0].accuracy.p_value == 0.001
    path = tmp_path / "emoji.csv"
    path.write_text("image,camera\n" + "".join(f"{n}.png,{'AB'[n % 2]}\n" for n in range(120)))
    [audit] = score_files([_predicted(tmp_path)], by=["camera"], groups=[path], replicates=50).audits
    assert {group.name: group.n for group in audit.groups} == {"A": 60, "B": 59, "no value": 1}


@pytest.mark.parametrize(
    ("by", "header", "said"),
    [
        ("agee", "id,age,camera", r"no column 'agee' in .*faces.csv.*did you mean 'age'"),
        ("age", "name,age,camera", r"none of its ids \(such as 'faces/1', 'faces/2'\).*'emoji/0'.*--id-column"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, by: str, header: str, said: str):
    with pytest.raises(UserError, match=said):
        score_files([_predicted(tmp_path)], by=[by], groups=[_faces(tmp_path, header=header)], replicates=20)


def test_an_id_with_two_values_is_refused(tmp_path: Path):
    path = _faces(tmp_path)
    path.write_text(path.read_text() + "emoji/3,99,Z\n")
    with pytest.raises(UserError, match=r"line 121: id 'emoji/3' is that of line 5 too"):
        score_files([_predicted(tmp_path)], by=["age"], groups=[path], replicates=20)
