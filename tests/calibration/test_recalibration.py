"""A recalibration file: what was fitted is read back, its figures are honest, and what is wrong with it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emocaliber.calibration.posthoc import Kind, Signal
from emocaliber.calibration.recalibration import apply_file, figures, fit_file, read_file
from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.prediction_files import read_predictions, write_predictions
from emocaliber.runs.scoring import score_files
from tests.calibration.test_posthoc import drawn


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    held, test = tmp_path / "held.jsonl", tmp_path / "test.jsonl"
    write_predictions(held, drawn(600, 0) + drawn(600, 2, "u", 3.0))
    write_predictions(test, drawn(600, 1) + drawn(600, 3, "u", 3.0))
    return held, test


@pytest.mark.parametrize("kind", ["temperature", "isotonic", "beta"])
@pytest.mark.parametrize("signal", ["confidence", "distribution"])
def test_the_file_maps_as_the_fit_that_wrote_it(files: tuple[Path, Path], tmp_path: Path, kind: Kind, signal: Signal):
    held, test = files
    fitted = fit_file([held], signal, kind, tmp_path / "map.json", per_task=True)
    again, fitted_on = read_file(tmp_path / "map.json")
    assert again == fitted
    assert len(fitted_on) == 1200
    _, mended = apply_file(tmp_path / "map.json", test, tmp_path / "mended.jsonl")
    assert mended == fitted.apply(list(read_predictions(test)), mended[0].method)
    assert list(read_predictions(tmp_path / "mended.jsonl")) == mended


@pytest.mark.slow
def test_the_scorecard_after_is_better_than_before(files: tuple[Path, Path], tmp_path: Path):
    held, test = files
    fit_file([held], "confidence", "beta", tmp_path / "map.json", per_task=True)
    before, after = apply_file(tmp_path / "map.json", test, tmp_path / "mended.jsonl")
    assert figures(after)["Brier"] < figures(before)["Brier"] - 0.01
    assert figures(after)["ECE"] < figures(before)["ECE"] / 2
    card = score_files([test, tmp_path / "mended.jsonl"], replicates=20)
    scores = {one.name: one.find("all").headline["brier"].value for one in card.methods}
    assert scores["m, beta confidence"] == pytest.approx(figures(after)["Brier"])


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
    told = capsys.readouterr().out
    assert "isotonic map of the probability, 2 tasks have their own" in told
    assert told.index("before  Brier") < told.index("after   Brier")


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
        read_file(path)
    assert "map.json" in str(error.value)


def test_an_isotonic_map_that_falls_is_refused(files: tuple[Path, Path], tmp_path: Path):
    path = tmp_path / "map.json"
    fit_file([files[0]], "confidence", "isotonic", path, per_task=False)
    content = json.loads(path.read_text())
    content["overall"]["isotonic"][1].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"overall\.isotonic must be two ascending lists"):
        read_file(path)


def test_an_empty_prediction_file_is_an_error(files: tuple[Path, Path], tmp_path: Path):
    fit_file([files[0]], "confidence", "beta", tmp_path / "map.json", per_task=True)
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no row"):
        apply_file(tmp_path / "map.json", tmp_path / "none.jsonl", tmp_path / "x.jsonl")
