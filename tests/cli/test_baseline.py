"""The verb, from a file of views to the numbers in scorecard.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emocaliber.baselines.estimator import Estimator
from emocaliber.baselines.experiment import BaselineRecipe, fit, predictions
from emocaliber.baselines.softmax import Softmax
from emocaliber.baselines.view_files import read_views
from emocaliber.cli import main
from emocaliber.core.predictions import Source, State, read_predictions
from emocaliber.data.embedded import load
from tests.baselines.synthetic_views import QUICK, views_of

RECIPE = """
network: {method: %s, hidden: [8]}
training: {epochs: 25, batch_size: 32, learning_rate: 0.02, patience: null, validation: 0.2}
"""


@pytest.fixture
def views(tmp_path: Path) -> Path:
    """Training and test rows with votes; the first test row lacks every view."""
    content = {}
    for split, seed in (("train", 0), ("test", 1)):
        arrays, labels, votes = views_of(120, seed)
        if split == "test":
            arrays = {name: np.where(np.arange(120)[:, None] == 0, np.nan, values) for name, values in arrays.items()}
        content |= {f"{name}_{split}": values for name, values in arrays.items()}
        content |= {f"label_{split}": labels, f"votes_{split}": votes}
    np.savez(tmp_path / "faces.npz", **content)
    return tmp_path / "faces.npz"


def _arguments(name: str, views: Path, *more: str) -> list[str]:
    recipe, out = views.with_name("recipe.yaml"), views.with_name("out")
    recipe.write_text(RECIPE % "tmc")
    return ["baseline", "train", name, "--views", str(views), "--recipe", str(recipe), "--out", str(out), *more]


def test_it_writes_every_row_a_scorecard_and_the_estimator(views: Path):
    assert main(_arguments("tmc", views)) == 0
    out = views.with_name("out")
    scores = json.loads((out / "scorecard.json").read_text())["methods"][0]["scores"][0]
    assert scores["n"] == 120
    assert scores["headline"]["accuracy"]["value"] > 0.9
    assert scores["headline"]["bhattacharyya"]["value"] > 0.7
    assert scores["trusted"][0]["chosen_on"] == "calibration"
    assert Estimator.load(out / "estimator").classes == ("angry", "happy", "sad")
    rows = list(read_predictions(out / "predictions.jsonl"))
    assert (rows[0].state, rows[0].predicted, rows[0].confidence) == (State.EMPTY, None, None)
    assert rows[0].votes is not None
    assert {row.source for row in rows} == {Source.DIRICHLET}
    assert rows[1].confidence == max((rows[1].distribution or {}).values())


def test_a_softmax_s_confidence_is_not_called_a_dirichlet_s(views: Path):
    view_set = read_views(views)
    recipe = BaselineRecipe(Softmax(hidden=(8,)), QUICK)
    estimator, held = fit(recipe, view_set)
    rows = predictions(estimator, held, view_set.task, "softmax")
    assert {row.source for row in rows} == {Source.LOGPROB}
    assert len(rows) == len(estimator.held_out_rows)


@pytest.mark.slow
def test_the_same_seed_writes_the_same_rows_and_another_does_not(views: Path):
    written = []
    for seed in ("1", "1", "2"):
        assert main(_arguments("tmc", views, "--seed", seed)) == 0
        written.append((views.with_name("out") / "predictions.jsonl").read_bytes())
    assert written[0] == written[1] != written[2]


def test_a_recipe_of_another_method_is_refused(views: Path, capsys: pytest.CaptureFixture[str]):
    assert main(_arguments("edl", views)) == 2
    assert "another method than 'edl'" in capsys.readouterr().err


SUITE = """
name: emoji alone
tasks:
  emoji: {labels: [negative, neutral, positive]}
groups: {new emoji: [emoji], "new emoji, held-out style": [emoji]}
"""


@pytest.mark.slow
def test_a_suite_without_views_is_looked_at_once_and_judged_by_group(tmp_path: Path):
    suite, recipe, out = tmp_path / "suite.yaml", tmp_path / "recipe.yaml", tmp_path / "out"
    suite.write_text(SUITE)
    recipe.write_text(RECIPE % "ter")
    command = ["baseline", "train", "ter", "--suite", str(suite), "--recipe", str(recipe), "--out", str(out)]
    assert main(command) == 0
    views = out / "features" / "emoji.npz"
    seen = views.stat().st_mtime_ns
    first = (out / "predictions.jsonl").read_bytes()
    card = json.loads((out / "scorecard.json").read_text())
    groups = [scores["name"] for scores in card["methods"][0]["scores"] if scores["kind"] == "group"]
    assert (card["suite"], groups) == ("emoji alone", ["new emoji", "new emoji, held-out style"])
    samples = [sample for sample in load("emoji") if sample.split == "test"]
    rows = list(read_predictions(out / "predictions.jsonl"))
    assert [(row.id, row.truth, row.votes) for row in rows] == [(s.id, s.label, s.votes) for s in samples]
    assert main(command) == 0
    assert (views.stat().st_mtime_ns, (out / "predictions.jsonl").read_bytes()) == (seen, first)


def test_a_suite_of_tasks_that_do_not_come_along_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: other\ntasks: {photos: {labels: [a, b]}}\ngroups: {}\n")
    assert main(["baseline", "train", "ter", "--suite", str(suite), "--out", str(tmp_path / "out")]) == 2
    assert "'photos' does not come with the package" in capsys.readouterr().err
