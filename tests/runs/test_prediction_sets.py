"""Prediction sets of files, by the commands that a person types."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from emocaliber.cli.main import main
from emocaliber.core.prediction_files import read_columnar, write_rows
from emocaliber.core.predictions import Prediction, Source, State, read_predictions, write_predictions


def rows(n: int, name: str) -> list[Prediction]:
    random = np.random.default_rng([n, *name.encode()])
    shares, labels = random.dirichlet([0.5] * 3, n), ("joy", "fear", "anger")
    return [
        Prediction(f"{name}-{i}", "faces", "", "", labels[random.choice(3, p=own)], labels[own.argmax()],
                   float(own.max()), State.OK, Source.LOGPROB, "model",
                   distribution=dict(zip(labels, own.tolist(), strict=True)))
        for i, own in enumerate(shares)
    ]  # fmt: skip


def test_sets_are_fitted_applied_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibration, test, sets = (tmp_path / name for name in ("calibration.jsonl", "test.jsonl", "sets.json"))
    write_predictions(calibration, rows(300, "calibration"))
    write_predictions(test, rows(400, "test"))
    assert main(["recalibrate", "fit", str(calibration), "--map", "sets", "--out", str(sets)]) == 0
    assert main(["recalibrate", "apply", str(sets), str(test), "--out", str(tmp_path / "out.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "contain the label with probability 0.9" in said
    assert "Coverage of sets 0." in said
    made = list(read_predictions(tmp_path / "out.jsonl"))
    assert all(row.prediction_set and row.set_coverage == 0.9 for row in made)
    assert main(["score", str(tmp_path / "out.jsonl"), "--out", str(tmp_path / "score")]) == 0
    assert "Mean set size" in (tmp_path / "score" / "scorecard.md").read_text()


def test_a_row_that_the_sets_were_fitted_on_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibration, sets = tmp_path / "calibration.jsonl", tmp_path / "sets.json"
    write_predictions(calibration, rows(100, "calibration"))
    main(["recalibrate", "fit", str(calibration), "--map", "sets", "--out", str(sets)])
    assert main(["recalibrate", "apply", str(sets), str(calibration), "--out", str(tmp_path / "out.jsonl")]) == 2
    assert "was used to fit" in capsys.readouterr().err


def test_a_table_keeps_its_columns_and_gets_the_set(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, n in (("calibration", 120), ("test", 5)):
        lines = ["picture,confidence,label,prediction"]
        for i in range(n):
            truth = "joy" if random.random() < 0.7 else "fear"
            lines.append(f"{name}-{i},{random.uniform(0.5, 1):.3f},{truth},joy")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    sets, out = tmp_path / "sets.json", tmp_path / "out.csv"
    assert main(["recalibrate", "fit", str(tmp_path / "calibration.csv"), "--map", "sets", "--out", str(sets)]) == 0
    assert json.loads(sets.read_text())["signal"] == "confidence"
    assert main(["recalibrate", "apply", str(sets), str(tmp_path / "test.csv"), "--out", str(out)]) == 0
    header, first, *_ = out.read_text().splitlines()
    assert header.endswith(",prediction_set")
    assert first.split(",")[-1].split(";")[0] in ("joy", "fear")


@pytest.mark.parametrize("coverage", ["90", "0"])
def test_a_coverage_that_is_no_share_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], coverage: str
) -> None:
    write_predictions(tmp_path / "c.jsonl", rows(100, "calibration"))
    command = ["recalibrate", "fit", str(tmp_path / "c.jsonl"), "--map", "sets", "--coverage", coverage]
    assert main([*command, "--out", str(tmp_path / "sets.json")]) == 2
    assert "such as 0.9" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_sets_and_doubts_survive_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    from msgspec.structs import replace

    from emocaliber.core.predictions import Held, Reason

    plain, *others = rows(3, "test")
    made = [
        plain,
        replace(others[0], prediction_set=("joy", "fear"), set_coverage=0.9, set_holds=Held.RATER),
        replace(others[1], prediction_set=(), doubt_people=0.25, doubt_unfamiliar=1.0, reason=Reason.UNFAMILIAR),
    ]
    file = tmp_path / f"rows{suffix}"
    write_rows(file, made)
    assert list(read_predictions(file)) == made


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_from_before_there_were_sets_is_read(tmp_path: Path, suffix: str) -> None:
    import csv

    import pyarrow.parquet as pq

    file, new = tmp_path / f"rows{suffix}", ("prediction_set", "set_coverage", "set_holds", "doubt_people",
                                             "doubt_unfamiliar", "reason")  # fmt: skip
    made = rows(3, "test")
    write_rows(file, made)
    if suffix == ".parquet":
        pq.write_table(pq.read_table(file).drop_columns(list(new)), file)
    else:
        with file.open(newline="") as opened:
            records = list(csv.DictReader(opened))
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, [key for key in records[0] if key not in new], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(records)
    assert [row for _, row in read_columnar(file)] == made


@pytest.mark.slow
def test_predict_and_ask_name_the_sets_that_were_fitted_on_their_own_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from emocaliber.data.embedded import load

    out, sets = tmp_path / "calibration", tmp_path / "sets.json"
    assert main(["predict", "emoji", "--split", "calibrate", "--limit", "60", "--out", str(out)]) == 0
    calibration = out / "predictions-logprob.jsonl"
    assert main(["recalibrate", "fit", str(calibration), "--map", "sets", "--out", str(sets)]) == 0
    file = tmp_path / "test.parquet"
    assert main(["predict", "emoji", "--limit", "5", "--sets", str(sets), "--out", str(file)]) == 0
    assert all(row.prediction_set for row in read_predictions(file, unlabelled=True))
    parts = [tmp_path / f"part-{number}" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        assert main(["predict", "emoji", "--limit", "5", "--shard", f"{number}/2", "--out", str(part)]) == 0
    merged = tmp_path / "merged.parquet"
    assert main(["predict", "--merge", *map(str, parts), "--sets", str(sets), "--out", str(merged)]) == 0
    # A shard's batches are others, and with them the last digits of its probabilities.
    found, expected = ({row.id: row.prediction_set for row in read_predictions(path)} for path in (merged, file))
    assert found == expected
    [sample] = load("emoji", "test")[:1]
    picture = tmp_path / "picture.png"
    from emocaliber.core.images import load_image

    load_image(sample.image).save(picture)
    capsys.readouterr()
    labels = ", ".join(sample.candidates)
    assert main(["ask", str(picture), "--labels", labels, "--sets", str(sets), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["prediction_set"]
    assert "90" in answer["set_sentence"]


def test_sets_that_hold_a_rater_take_rows_with_votes_and_no_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration, sets = tmp_path / "calibration.jsonl", tmp_path / "sets.json"
    rated = [replace(row, truth=None, votes={"joy": 2, "fear": 2}) for row in rows(120, "rated")]
    write_predictions(calibration, rated + rows(30, "labelled"))
    fit = ["recalibrate", "fit", str(calibration), "--map", "sets", "--out", str(sets)]
    assert main([*fit, "--holds", "rater"]) == 0
    said = capsys.readouterr().out
    assert "120 rows, 120 units" in said
    assert "Note: 30 of 150 rows have no votes and were left out" in said
    assert len(json.loads(sets.read_text())["fitted_on"]) == 120


def test_sets_that_hold_a_rater_say_that_no_row_has_votes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibration = tmp_path / "calibration.jsonl"
    write_predictions(calibration, rows(60, "calibration"))
    fit = ["recalibrate", "fit", str(calibration), "--map", "sets", "--out", str(tmp_path / "sets.json")]
    assert main([*fit, "--holds", "rater"]) == 2
    assert "none of the 60 rows has raters' 'votes', which --holds rater needs" in capsys.readouterr().err
