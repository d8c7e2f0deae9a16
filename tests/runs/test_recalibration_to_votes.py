"""The command `recalibrate` with --target votes: fitted, applied, scored by the raters, and what cannot be is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from emocaliber.calibration.files import read_map
from emocaliber.cli import main
from emocaliber.core.predictions import Prediction, read_predictions, write_predictions
from tests.calibration.test_targets import labelled, rated


def bare(rows: list[Prediction]) -> list[Prediction]:
    return [replace(row, signals=None, hidden=None) for row in rows]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Calibration rows, of which 40 have a label and no votes and some votes and no label, and test rows."""
    held, test = tmp_path / "held.jsonl", tmp_path / "test.jsonl"
    unrated = [replace(row, votes=None) for row in labelled(rated(80, 5))[:40]]
    write_predictions(held, bare(rated(300, 0) + unrated))
    write_predictions(test, bare(labelled(rated(300, 1))))
    return held, test


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_command_fits_to_votes_says_so_and_scores_by_them(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held, test = map(str, files)
    made, out = tmp_path / "map.json", tmp_path / "out.jsonl"
    assert main(["recalibrate", "fit", held, "--target", "votes", "--of", "confidence", "--out", str(made)]) == 0
    said = printed(capsys)
    assert "Cross-fitted on 300 rows to the raters' votes; the subject is the confidence as it is" in said
    assert "venn-abers" not in said
    assert re.search(r"fitted on 300 rows to the raters' votes: .*map\.json", said)
    assert "Note: 40 of 340 rows have no votes and were left out, the first is '5-" in said
    assert json.loads(made.read_text())["target"] == "votes"
    assert len(json.loads(made.read_text())["fitted_on"]) == 300
    assert main(["recalibrate", "apply", str(made), test, "--out", str(out)]) == 0
    said = printed(capsys)
    assert "The rows, recalibrated to the raters' votes" in said
    assert re.search(r"change Brier -0\.\d{4} \[-0\.\d{4}, -0\.\d{4}\] ECE -0\.\d{4} \[-0\.\d{4}, -0\.\d{4}\]", said)
    assert "rows, scored by the raters' votes; ECE with 15 bins" in said
    assert {row.method.endswith(" to votes") for row in read_predictions(out)} == {True}


def test_a_labels_map_says_so_and_needs_no_votes(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictions(files[0], [replace(row, votes=None) for row in bare(labelled(rated(300, 0)))])
    made = str(tmp_path / "map.json")
    fit = ["recalibrate", "fit", str(files[0]), "--map", "platt", "--of", "confidence", "--force", "--out", made]
    assert main(fit) == 0
    assert "rows to the labels" in printed(capsys)
    assert read_map(Path(made))[0].target == "label"
    assert main(["recalibrate", "apply", made, str(files[1]), "--out", str(tmp_path / "out.jsonl")]) == 0
    assert "scored by" not in printed(capsys)


def test_rows_that_cannot_be_scored_by_votes_are_scored_by_their_labels(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = str(tmp_path / "map.json")
    fit = ["recalibrate", "fit", str(files[0]), "--target", "votes", "--map", "platt", "--of", "confidence"]
    assert main([*fit, "--out", made]) == 0
    rows = bare(labelled(rated(100, 2)))
    write_predictions(files[1], [replace(rows[0], votes=None), *rows[1:]])
    assert main(["recalibrate", "apply", made, str(files[1]), "--out", str(tmp_path / "out.jsonl")]) == 0
    assert "Note: some labelled rows have no votes, so all are scored by their labels" in printed(capsys)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--target", "votes", "--map", "venn-abers"], "--map venn-abers --target votes: a venn-abers map cannot be"),
        (["--target", "votes", "--map", "sets"], "use --holds rater"),
        (["--target", "votes", "--map", "doubt"], "leave --target out"),
        (["--holds", "rater", "--map", "platt"], "use --target votes"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_do(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert main(["recalibrate", "fit", str(files[0]), *options, "--out", str(tmp_path / "map.json")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "map.json").exists()


def test_rows_without_any_votes_are_named(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [replace(row, votes=None) for row in bare(labelled(rated(30, 0)))]
    write_predictions(files[0], rows)
    fit = ["recalibrate", "fit", str(files[0]), "--target", "votes", "--out", str(tmp_path / "map.json")]
    assert main(fit) == 2
    error = capsys.readouterr().err
    assert (
        f"held.jsonl: none of the {len(rows)} rows, of which the first is {rows[0].id!r}, has raters' 'votes'" in error
    )
    (tmp_path / "mine.csv").write_text("confidence,correct\n.9,1\n.8,0\n")
    assert main(["recalibrate", "fit", str(tmp_path / "mine.csv"), *fit[3:]]) == 2
    assert "mine.csv: none of the 2 rows" in capsys.readouterr().err
