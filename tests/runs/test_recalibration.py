"""Recalibrating files: what was fitted is read back, its figures are honest, and what does not help is refused."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from emocaliber.calibration.files import read_map
from emocaliber.calibration.fit import KINDS, Kind, Signal
from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.prediction_files import is_columnar
from emocaliber.core.predictions import Prediction, Source, State, read_predictions, write_predictions
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.runs.recalibration import AFTER, BEFORE, apply_file, fit_file
from emocaliber.runs.scoring import score_files
from tests.calibration.test_fit import drawn


def value(card: Scorecard, method: str, metric: str) -> float:
    return float(card.method(method).find("all").headline[metric].value or 0.0)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    held, test = tmp_path / "held.jsonl", tmp_path / "test.jsonl"
    write_predictions(held, drawn(600, 0) + drawn(600, 2, "u", 3.0))
    write_predictions(test, drawn(600, 1) + drawn(600, 3, "u", 3.0))
    return held, test


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signal", ["confidence", "distribution"])
def test_the_file_maps_as_the_fit_that_wrote_it(files: tuple[Path, Path], tmp_path: Path, kind: Kind, signal: Signal):
    held, test = files
    fitted = fit_file([held], signal, kind, tmp_path / "map.json", per_task=True).recalibrator
    again, fitted_on = read_map(tmp_path / "map.json")
    assert again == fitted
    assert len(fitted_on) == 1200
    apply_file(tmp_path / "map.json", test, tmp_path / "mapped.jsonl")
    mapped = list(read_predictions(tmp_path / "mapped.jsonl"))
    assert mapped == fitted.apply(list(read_predictions(test)), f"m, {kind} {signal}")


@pytest.mark.slow
def test_the_scorecard_after_is_better_than_before(files: tuple[Path, Path], tmp_path: Path):
    held, test = files
    fit_file([held], "confidence", "beta", tmp_path / "map.json", per_task=True)
    card = apply_file(tmp_path / "map.json", test, tmp_path / "mapped.jsonl")
    assert card is not None
    assert value(card, AFTER, "brier") < value(card, BEFORE, "brier") - 0.01
    assert value(card, AFTER, "ece") < value(card, BEFORE, "ece") / 2
    other = score_files([test, tmp_path / "mapped.jsonl"], replicates=20)
    assert value(other, "m, beta confidence", "brier") == pytest.approx(value(card, AFTER, "brier"))


def test_rows_that_taught_the_map_are_refused(files: tuple[Path, Path], tmp_path: Path):
    fit_file([files[0]], "confidence", "beta", tmp_path / "map.json", per_task=True)
    with pytest.raises(UserError, match="'t0-0' was used to fit"):
        apply_file(tmp_path / "map.json", files[0], tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()


def test_the_verb_fits_applies_and_prints_before_and_after(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made, out = str(tmp_path / "map.json"), str(tmp_path / "mended.jsonl")
    assert main(["recalibrate", "fit", str(files[0]), "--map", "isotonic", "--of", "probability", "--out", made]) == 0
    assert main(["recalibrate", "apply", made, str(files[1]), "--out", out]) == 0
    printed = capsys.readouterr().out
    assert "isotonic map of the probability, for all tasks, 2 with a map of their own, fitted on 1200 rows" in printed
    assert re.search(r"before  Brier 0\.\d{4}  ECE 0\.\d{4}\nafter   Brier 0\.\d{4}  ECE 0\.\d{4}\n", printed)
    assert re.search(r"change  Brier -0\.\d{4} \[-0\.\d{4}, -0\.\d{4}\]  ECE -", printed)
    assert "(1200 rows; ECE with 15 bins; 95 % intervals of the paired difference)" in printed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other 2"}, "'format' is 'other 2'"),
        ({"kind": "spline"}, r"\$.kind"),
        ({"kind": "isotonic"}, "must hold a isotonic map and nothing else"),
        ({"overall": {"rows": 3}}, "holds none"),
        ({"overall": {"rows": 3, "beta": [1, 2]}}, r"\$.overall.beta"),
        ({"extra": 1}, "unknown field `extra`"),
    ],
)
def test_a_file_that_was_changed_by_hand_is_named_with_its_key(
    files: tuple[Path, Path], tmp_path: Path, change: dict[str, object], sentence: str
):
    path = tmp_path / "map.json"
    fit_file([files[0]], "confidence", "beta", path, per_task=False)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=sentence) as error:
        read_map(path)
    assert "map.json" in str(error.value)


def test_an_isotonic_map_that_falls_is_refused(files: tuple[Path, Path], tmp_path: Path):
    path = tmp_path / "map.json"
    fit_file([files[0]], "confidence", "isotonic", path, per_task=False)
    content = json.loads(path.read_text())
    content["overall"]["isotonic"][1].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"overall\.isotonic must be two ascending lists"):
        read_map(path)


def test_an_empty_prediction_file_is_an_error(files: tuple[Path, Path], tmp_path: Path):
    fit_file([files[0]], "confidence", "beta", tmp_path / "map.json", per_task=True)
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(UserError, match="is empty"):
        apply_file(tmp_path / "map.json", tmp_path / "none.jsonl", tmp_path / "x.jsonl")


def saturated(n: int, seed: int) -> list[Prediction]:
    """A quarter state 1.00 and are right on .92; the others are calibrated."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        stated = 1.0 if i % 4 == 0 else float(random.choice([0.5, 0.6, 0.7, 0.8, 0.9]))
        right = random.uniform() < (0.92 if stated == 1.0 else stated)
        rows.append(
            Prediction(f"{seed}-{i}", "t", "", f"{seed}-{i}", "joy", "joy" if right else "fear", stated, State.OK,
                       Source.VERBALIZED, "m")
        )  # fmt: skip
    return rows


@pytest.fixture
def certain(tmp_path: Path) -> tuple[Path, Path]:
    held, test = tmp_path / "held.jsonl", tmp_path / "test.jsonl"
    write_predictions(held, saturated(4000, 0))
    write_predictions(test, saturated(4000, 1))
    return held, test


def test_the_map_chosen_for_saturated_confidences_lowers_the_brier_score_of_unseen_rows(
    certain: tuple[Path, Path], tmp_path: Path
):
    fit = fit_file([certain[0]], "confidence", None, tmp_path / "map.json", per_task=True)
    card = apply_file(tmp_path / "map.json", certain[1], tmp_path / "out.jsonl")
    assert card is not None
    assert value(card, AFTER, "brier") < value(card, BEFORE, "brier")
    assert value(card, AFTER, "ece") < value(card, BEFORE, "ece")
    assert [result.after for result in fit.tried] == sorted(result.after for result in fit.tried)
    assert fit.recalibrator.kind == fit.tried[0].kind
    assert {result.kind for result in fit.tried} == set(KINDS)


def test_a_map_that_does_not_help_is_not_written_unless_it_is_forced(
    certain: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "map.json"
    arguments = ["recalibrate", "fit", str(certain[0]), "--map", "temperature", "--out", str(out)]
    assert main(arguments) == 2
    refusal = capsys.readouterr().err
    assert "a temperature map does not help, so none is written" in refusal
    assert "--map temperature --force" in refusal
    assert not out.exists()
    assert main([*arguments, "--force"]) == 0
    assert read_map(out)[0].kind == "temperature"


def test_calibrated_confidences_are_left_alone(tmp_path: Path):
    write_predictions(tmp_path / "held.jsonl", drawn(3000, 0, power=1.0))
    with pytest.raises(UserError, match="no map helps, so none is written: the confidence as it is has Brier score"):
        fit_file([tmp_path / "held.jsonl"], "confidence", None, tmp_path / "map.json", per_task=True)


def test_one_row_is_too_few_to_see_whether_a_map_helps(tmp_path: Path):
    write_predictions(tmp_path / "held.jsonl", drawn(1, 0))
    with pytest.raises(UserError, match="at least two clusters"):
        fit_file([tmp_path / "held.jsonl"], "confidence", None, tmp_path / "map.json", per_task=True)
    fit = fit_file([tmp_path / "held.jsonl"], "confidence", "beta", tmp_path / "map.json", per_task=True, force=True)
    assert fit.tried == []


def test_a_parameter_at_its_bound_has_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    random = np.random.default_rng(0)
    upside_down = [
        replace(row, confidence=stated, predicted="joy" if random.uniform() < 1 - stated else "fear")
        for row, stated in ((row, float(random.choice([0.1, 0.5, 0.9]))) for row in saturated(400, 0))
    ]
    write_predictions(tmp_path / "held.jsonl", upside_down)
    fit = ["recalibrate", "fit", str(tmp_path / "held.jsonl"), "--out", str(tmp_path / "map.json"), "--map"]
    assert main([*fit, "temperature"]) == 0
    assert "Note: task t: the temperature reached its bound 20" in capsys.readouterr().out
    assert main([*fit, "platt"]) == 0
    assert (
        "the slope reached its bound 0: answers with higher values were not right more often" in capsys.readouterr().out
    )


def table(path: Path, n: int, seed: int, percent: str = "") -> Path:
    """A person's own table: too sure by half, no ids."""
    random, rows = np.random.default_rng(seed), ["note;Model_Confidence;is_correct"]
    for _ in range(n):
        stated = round(float(random.uniform(0.4, 1)), 2)
        right = random.uniform() < stated / 1.5
        rows.append(f"a, b;{f'{stated * 100:.0f}{percent}' if percent else stated};{right}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("percent", ["", "%"])
def test_a_table_comes_back_with_a_column_more_and_no_other_change(
    tmp_path: Path, percent: str, capsys: pytest.CaptureFixture[str]
):
    held, test = table(tmp_path / "held.csv", 800, 0, percent), table(tmp_path / "test.csv", 400, 1, percent)
    made, out = str(tmp_path / "map.json"), tmp_path / "out.csv"
    assert main(["recalibrate", "fit", str(held), "--out", made]) == 0
    assert "column 'Model_Confidence' is the confidence" in capsys.readouterr().out
    assert main(["recalibrate", "apply", made, str(test), "--out", str(out)]) == 0
    before = list(csv.reader(test.read_text().splitlines(), delimiter=";"))
    after = list(csv.reader(out.read_text().splitlines(), delimiter=";"))
    assert [cells[:-1] for cells in after] == before
    assert after[0][-1] == "recalibrated_confidence"
    values = [float(cells[-1]) for cells in after[1:]]
    stated = [float(cells[1].rstrip("%")) for cells in before[1:]]
    assert np.mean(values) == pytest.approx(np.mean(stated) / 1.5, rel=0.1)
    printed = capsys.readouterr().out
    assert re.search(r"change  Brier -0\.\d{4} \[-0\.\d{4}, -0\.\d{4}\]", printed)


def test_rows_without_ids_that_fitted_the_map_are_known_by_their_file(tmp_path: Path):
    held = table(tmp_path / "held.csv", 800, 0)
    fit_file([held], "confidence", None, tmp_path / "map.json", per_task=True)
    copy = tmp_path / "copy.csv"
    copy.write_bytes(held.read_bytes())
    with pytest.raises(UserError, match="was used to fit"):
        apply_file(tmp_path / "map.json", copy, tmp_path / "out.csv")
    apply_file(tmp_path / "map.json", table(tmp_path / "test.csv", 50, 1), tmp_path / "out.csv")


def test_a_table_becomes_a_prediction_file_where_out_says_so(tmp_path: Path):
    fit_file([table(tmp_path / "held.csv", 800, 0)], "confidence", None, tmp_path / "map.json", per_task=True)
    apply_file(tmp_path / "map.json", table(tmp_path / "test.csv", 50, 1), tmp_path / "out.jsonl")
    assert len(list(read_predictions(tmp_path / "out.jsonl"))) == 50


def test_predictions_come_back_in_the_format_that_out_names(files: tuple[Path, Path], tmp_path: Path):
    calibration, test = files
    fit_file([calibration], "confidence", "beta", tmp_path / "map.json", per_task=True, force=True)
    rows = {}
    for name in ("out.csv", "out.parquet", "out.jsonl"):
        apply_file(tmp_path / "map.json", test, tmp_path / name)
        assert is_columnar(tmp_path / name) == (name != "out.jsonl")
        rows[name] = list(read_predictions(tmp_path / name))
    assert rows["out.csv"] == rows["out.parquet"] == rows["out.jsonl"]


def test_rows_without_a_label_are_mapped_and_not_judged(files: tuple[Path, Path], tmp_path: Path):
    fitted = fit_file([files[0]], "confidence", "beta", tmp_path / "map.json", per_task=True).recalibrator
    rows = list(read_predictions(files[1]))
    mixed = [replace(row, truth=None) if number % 2 else row for number, row in enumerate(rows)]
    write_predictions(tmp_path / "mixed.jsonl", mixed)
    card = apply_file(tmp_path / "map.json", tmp_path / "mixed.jsonl", tmp_path / "out.jsonl")
    mapped = list(read_predictions(tmp_path / "out.jsonl", unlabelled=True))
    assert [row.confidence for row in mapped] == [row.confidence for row in fitted.apply(rows, "m")]
    assert card is not None
    assert card.method(AFTER).find("all").n == len(rows) / 2
    write_predictions(tmp_path / "none.jsonl", [replace(row, truth=None) for row in rows])
    assert apply_file(tmp_path / "map.json", tmp_path / "none.jsonl", tmp_path / "out.jsonl") is None


@pytest.mark.parametrize("header", ["confidence", "confidence;correct", "confidence;label;prediction"])
def test_a_table_without_what_is_correct_is_mapped(tmp_path: Path, header: str, capsys: pytest.CaptureFixture[str]):
    fit_file([table(tmp_path / "held.csv", 800, 0)], "confidence", None, tmp_path / "map.json", per_task=True)
    cells = {"confidence": "0.9", "confidence;correct": "0.9;", "confidence;label;prediction": "0.9;;joy"}[header]
    (tmp_path / "new.csv").write_text(f"{header}\n{cells}\n")
    assert main(["recalibrate", "apply", str(tmp_path / "map.json"), str(tmp_path / "new.csv"), "--out",
                 str(tmp_path / "out.csv")]) == 0  # fmt: skip
    mapped = (tmp_path / "out.csv").read_text().splitlines()
    assert 0.4 < float(mapped[1].replace(";", ",").split(",")[-1]) < 0.8
    assert "nothing to evaluate" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["out.parquet", "out.xlsx", "out.csv.gz"])
def test_a_table_is_not_written_under_a_name_that_its_text_belies(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    fit_file([table(tmp_path / "held.csv", 800, 0)], "confidence", None, tmp_path / "map.json", per_task=True)
    new, out = table(tmp_path / "new.csv", 10, 1), tmp_path / name
    assert main(["recalibrate", "apply", str(tmp_path / "map.json"), str(new), "--out", str(out)]) == 2
    assert "given back as delimited text" in capsys.readouterr().err
    assert not out.exists()


def test_a_map_of_relative_confidence_says_what_other_rows_must_be_compared_with(
    files: tuple[Path, Path], tmp_path: Path
):
    rows = [replace(row, signals={"relative": float(row.confidence or 0)}) for row in read_predictions(files[0])]
    write_predictions(files[0], rows)
    notes = fit_file([files[0]], "relative", "signals", tmp_path / "map.json", per_task=False, force=True).notes
    assert any("with --against the run of these" in note for note in notes)
    plain = fit_file([files[0]], "confidence", "isotonic", tmp_path / "map.json", per_task=False).notes
    assert not any("--against" in note for note in plain)
