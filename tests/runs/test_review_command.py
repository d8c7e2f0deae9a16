"""The command `review` begins and continues a review, and refuses what a begun one cannot change."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emocaliber.cli import main
from emocaliber.core.predictions import State, write_predictions
from emocaliber.reading.tables import Columns
from emocaliber.runs.review import open_review
from emocaliber.runs.review_rows import read_rows
from tests.runs.reviews import LABELS, commanded, fill_in, rows_and_truth


def test_the_command_from_beginning_to_end(predictions: Path, capsys: pytest.CaptureFixture[str]):
    folder = predictions.parent / "out"
    command = ["review", str(predictions), "--out", str(folder), "--pictures", str(predictions.parent)]
    assert main(command) == 0
    assert "Step 1 of 2" in capsys.readouterr().out
    fill_in(folder, only=10)
    assert main(["review", str(folder)]) == 0
    assert "10 answers, 10 of them new" in capsys.readouterr().out
    assert (folder / "tasks-answered-1.csv").is_file()
    fill_in(folder)
    assert main(command) == 0  # the first command goes on too
    assert "Step 2 of 2" in capsys.readouterr().out
    fill_in(folder)
    assert main(["review", str(folder), "--set", "labels.parquet"]) == 0
    assert "At most 5 % of these 300 labels are wrong" in capsys.readouterr().out
    table = pq.read_table(folder / "labels.parquet")
    assert table.column_names == ["id", "label", "source", "confidence", "model"]
    assert table.num_rows == 300
    assert json.loads((folder / "guarantee.json").read_text())["certainty_reached"] >= 0.95
    assert main(["review", str(folder)]) == 0
    assert len((folder / "labels.csv").read_text().splitlines()) == 301


def test_the_command_says_what_is_wrong(predictions: Path, capsys: pytest.CaptureFixture[str]):
    folder = predictions.parent
    write_predictions(
        folder / "labelled.jsonl", [msgspec.structs.replace(row, truth="joy") for row in rows_and_truth()[0]]
    )
    (folder / "plain.csv").write_text("confidence\n0.5\n")
    for arguments, message in [
        ([str(predictions)], "give a folder for the review"),
        ([str(folder / "labelled.jsonl"), "--out", str(folder / "a")], "every row has a label already"),
        ([str(folder / "plain.csv"), "--out", str(folder / "b")], "no column says what the model answered"),
        ([str(folder / "gone.csv"), "--out", str(folder / "c")], "there is no such file"),
        ([str(predictions), "--out", str(folder / "d"), "--set", "x.xls"], "ends in .csv, .jsonl or .parquet"),
        ([str(predictions), "--out", str(folder / "f"), "--port", "0"], "--port 0 needs --page"),
        ([str(predictions), "--simulate"], "has no label; a simulation needs one"),
        (
            [str(predictions), "--out", str(folder / "e"), "--labels", "joy,awe"],
            "names 'anger', which --labels does not",
        ),
    ]:
        assert main(["review", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not any((folder / name).exists() for name in "abcdef")


def test_labels_and_pictures_are_those_that_predict_was_given(predictions: Path):
    """Where the model named none of them, a person could not choose."""
    rows = [msgspec.structs.replace(row, predicted=None, state=State.UNKNOWN_LABEL, truth=None)
            for row in rows_and_truth(20)[0]]  # fmt: skip
    write_predictions(predictions, rows)
    folder = predictions.parent
    assert main(["review", str(predictions), "--out", str(folder / "a")]) == 2
    (folder / "photos").mkdir()
    (folder / "answers.jsonl.answers").mkdir()
    manifest = {"settings": {"source": [str(folder / "photos")], "labels": "joy,fear"}}
    (folder / "answers.jsonl.answers" / "manifest.json").write_text(json.dumps(manifest))
    assert main(["review", str(predictions), "--out", str(folder / "b")]) == 0
    review = open_review(folder / "b")
    assert {item.labels for item in review.queue()} == {("joy", "fear")}
    assert review.record.pictures == [str(folder / "photos")]


def test_a_table_with_columns_of_other_names_is_reviewed_and_goes_on_without_the_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows, _ = rows_and_truth(60)
    table = tmp_path / "answers.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("Foto", "Said", "Sure"), *((r.id, r.predicted, r.confidence) for r in rows)])
    named = ["--confidence-column", "Sure", "--prediction-column", "Said", "--id-column", "Foto"]
    folder = tmp_path / "review"
    assert main(["review", str(table), "--out", str(folder), *named]) == 0
    assert main(["review", str(folder)]) == 0
    assert main(["review", str(table), "--out", str(folder)]) == 0
    assert len(open_review(folder).rows) == 60
    assert "60 rows" in capsys.readouterr().out
    assert main(["review", str(table), "--confidence-column", "Sure", "--out", str(tmp_path / "other")]) == 2
    assert "name it with --prediction-column" in capsys.readouterr().err


def test_a_log_that_names_no_labels_is_reviewed_with_those_given(tmp_path: Path):
    log = tmp_path / "samples.jsonl"
    said = [{"doc_id": n, "doc": {}, "target": "joy", "resps": [["joy, 90 %"]], "filtered_resps": ["joy, 90 %"],
             "arguments": {}, "filter": "none"} for n in range(4)]  # fmt: skip
    log.write_text("".join(json.dumps(row) + "\n" for row in said))
    read = read_rows(log, Columns(labels=LABELS))
    assert [row.predicted for row in read.values()] == ["joy"] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sample", "7"], "--sample 7: .* rows were drawn when this review started"),
        (["--sample", "3O"], "--sample 3O: this is neither a whole number nor a file"),
        (["--seed", "7"], "--seed 7: the sample of this review was drawn with 1"),
        (["--confidence-column", "sure"], "the columns were named when this review started"),
        (["--percent"], "the columns were named when this review started"),
        (["--labels", "joy,fear"], r"answers\.jsonl: row .* names 'anger', which --labels does not"),
        (["--error", "0.1"], "another promise needs a sample"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_what_a_begun_review_cannot_change_is_refused(
    predictions: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str, again: bool
):
    folder = commanded(predictions).folder
    before = (folder / "review.json").read_bytes()
    command = [str(predictions), "--out", str(folder)] if again else [str(folder)]
    assert main(["review", *command, *options]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert (folder / "review.json").read_bytes() == before


def test_labels_and_pictures_may_be_named_later(predictions: Path):
    review = commanded(predictions)
    same = ["--sample", str(len(review.record.sample)), "--seed", "1"]
    (predictions.parent / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(predictions.parent / "photos" / review.record.sample[0])
    named = ["--labels", "joy,anger,fear,awe", "--pictures", str(predictions.parent / "photos")]
    assert main(["review", str(review.folder), *same, *named]) == 0
    later = open_review(review.folder)
    assert later.record.sample == review.record.sample
    assert later.queue()[0].labels == ("joy", "anger", "fear", "awe")
    with (review.folder / "tasks.csv").open() as file:
        assert next(csv.DictReader(file))["picture"].endswith(review.record.sample[0])
    (predictions.parent / "awe.csv").write_text(f"id,answer\n{review.record.sample[0]},awe\n")
    assert main(["review", str(review.folder), "--answers", str(predictions.parent / "awe.csv")]) == 0
    assert main(["review", str(review.folder), "--labels", "joy,anger,fear"]) == 2  # somebody said awe
    assert main(["review", str(predictions), "--out", str(review.folder)]) == 0  # what was named stays
    assert open_review(review.folder).record.labels == ["joy", "anger", "fear", "awe"]
