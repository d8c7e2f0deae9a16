"""Reasons for doubt by the commands that a person types: the embedded data and model."""

from pathlib import Path

import numpy as np
import pytest

from emocaliber.cli.main import main
from emocaliber.core.predictions import Prediction, Source, State, read_predictions, write_predictions
from emocaliber.data.embedded import load


def rows(split: str, n: int) -> list[Prediction]:
    random, made = np.random.default_rng(0), []
    for sample in load("emoji", split)[:n]:
        shares = random.dirichlet([1.0] * len(sample.candidates))
        made.append(
            Prediction(
                sample.id, sample.task, sample.group, sample.cluster, sample.label,
                sample.candidates[int(shares.argmax())], float(shares.max()), State.OK, Source.LOGPROB, "model",
                sample.votes, dict(zip(sample.candidates, shares.tolist(), strict=True)),
            )
        )  # fmt: skip
    return made


def test_doubts_are_fitted_and_applied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibration, test, doubt, out = (tmp_path / name for name in ("c.jsonl", "t.jsonl", "doubt.json", "out.jsonl"))
    write_predictions(calibration, rows("calibrate", 60))
    write_predictions(test, rows("test", 8))
    fit = ["recalibrate", "fit", str(calibration), "--map", "doubt", "--out", str(doubt)]
    assert main([*fit, "--pictures", "emoji", "--model", "tiny"]) == 0
    assert "ambiguous from" in capsys.readouterr().out
    assert main(["recalibrate", "apply", str(doubt), str(test), "--pictures", "emoji", "--out", str(out)]) == 0
    made = list(read_predictions(out))
    assert all(row.doubt_people is not None and row.doubt_unfamiliar is not None and row.reason for row in made)
    assert main(["recalibrate", "apply", str(doubt), str(test), "--out", str(out)]) == 0
    assert "without --pictures" in capsys.readouterr().out
    assert all(row.doubt_unfamiliar is None for row in read_predictions(out))


def test_a_row_without_its_picture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibration = tmp_path / "c.jsonl"
    write_predictions(calibration, rows("calibrate", 60))
    fit = ["recalibrate", "fit", str(calibration), "--map", "doubt", "--out", str(tmp_path / "doubt.json")]
    assert main([*fit, "--pictures", "kaomoji", "--model", "tiny"]) == 2
    assert "has no picture in kaomoji" in capsys.readouterr().err
    assert main([*fit, "--pictures", "kaomoji"]) == 2
    assert "go together" in capsys.readouterr().err
