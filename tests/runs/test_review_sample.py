"""The random sample of a review: labelled before it starts, or drawn again and again by a simulation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from emocaliber.cli import main
from emocaliber.core.predictions import write_predictions
from emocaliber.runs.review import Phase, open_review
from emocaliber.runs.review_result import finished_rows
from tests.runs.reviews import TRUTH, begun, fill_in, rows_and_truth


def labelled_sample(predictions: Path, size: int) -> Path:
    """A table of rows that somebody drew and labelled, some of them in the predictions' own file too."""
    rows = [row for row in rows_and_truth()[0] if row.truth is None]
    drawn = np.random.default_rng(4).choice(len(rows), size, replace=False)
    names = {rows[index].id for index in drawn}
    known = [msgspec.structs.replace(row, truth=TRUTH[row.id]) if row.id in names and number % 2 else row
             for number, row in enumerate(rows_and_truth()[0])]  # fmt: skip
    write_predictions(predictions, known)
    table = predictions.parent / "mine.csv"
    table.write_text("id,label\n" + "".join(f"{name},{TRUTH[name]}\n" for name in sorted(names)))
    return table


def test_a_sample_that_was_labelled_before_is_not_asked_again(predictions: Path, capsys: pytest.CaptureFixture[str]):
    table, folder = labelled_sample(predictions, 120), predictions.parent / "out"
    command = ["review", str(predictions), "--sample", str(table), "--out", str(folder)]
    assert main(command) == 0
    assert "Step 2 of 2" in capsys.readouterr().out
    review = open_review(folder)
    assert review.phase is Phase.REST
    assert review.record.allowed >= 0
    assert set(review.record.sample) <= set(review.answers)
    assert not set(review.record.sample) & {item.id for item in review.queue()}
    fill_in(folder)
    assert main(command) == 0
    finished = finished_rows(open_review(folder))
    assert sum(row["label"] != TRUTH[row["id"]] for row in finished) <= 15
    facts = json.loads((folder / "guarantee.json").read_text())
    assert facts["looked_at"] + facts["labels_from_model"] + facts["given"] == 300
    assert "mine.csv, was drawn at random from all these rows, by you" in (folder / "guarantee.md").read_text()
    other = predictions.parent / "other.csv"
    other.write_text(table.read_text())
    assert main(["review", str(folder), "--sample", str(other)]) == 2
    assert "the sample of this review came from" in capsys.readouterr().err


def test_a_labelled_sample_with_mistakes_starts_no_review(predictions: Path, capsys: pytest.CaptureFixture[str]):
    table, folder = labelled_sample(predictions, 20), predictions.parent / "out"
    right = table.read_text()
    for text, message in [
        (right + "zzz,joy\n", "mine.csv, line 22: there is no row 'zzz'"),
        (right.replace(",joy", ",joi", 1), "'joi' is not among the labels; did you mean 'joy'"),
        (right + right.splitlines()[1].partition(",")[0] + ",awe\n", "leave one of them"),
        ("id,label\nx,joy\n", "none of its 1 labels is of a row that the model answered"),
    ]:
        table.write_text(text)
        assert main(["review", str(predictions), "--sample", str(table), "--out", str(folder)]) == 2
        assert message in capsys.readouterr().err
        assert not (folder / "review.json").exists()
    table.write_text(right)
    assert main(["review", str(predictions), "--sample", str(table), "--out", str(folder)]) == 0
    assert "A sample of 20 vouches for no label at this promise" in capsys.readouterr().out


def test_a_simulation_writes_nothing_and_says_what_would_have_been_saved(
    predictions: Path, capsys: pytest.CaptureFixture[str]
):
    rows, truth = rows_and_truth()
    write_predictions(predictions, [msgspec.structs.replace(row, truth=truth[row.id]) for row in rows])
    before = sorted(predictions.parent.iterdir())
    assert main(["review", str(predictions), "--simulate", "--error", "5%"]) == 0
    said = capsys.readouterr().out
    [looked_at] = re.findall(r"people look at (\d+) rows", said)
    assert 0 < int(looked_at) < 300
    [broken] = re.findall(r"simulated reviews (\d+) left", said)
    assert int(broken) <= 25
    assert sorted(predictions.parent.iterdir()) == before


def test_a_simulation_refuses_what_only_a_review_has(predictions: Path, capsys: pytest.CaptureFixture[str]):
    folder = begun(predictions).folder
    for options, message in [
        (["--out", "x"], "--out has no meaning with --simulate"),
        (["--page"], "--page has no meaning with --simulate"),
        (["--port", "0"], "--port has no meaning with --simulate"),
        (["--sample", str(predictions)], "--simulate draws its samples itself"),
    ]:
        assert main(["review", str(predictions), "--simulate", *options]) == 2
        assert message in capsys.readouterr().err
    assert main(["review", str(folder), "--simulate"]) == 2
    assert "is a review" in capsys.readouterr().err
