"""The tracker that the documents show: trackio, on this machine alone."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_trackio_holds_every_logged_loss_under_the_names_that_the_command_gives(tmp_path: Path, few: Path):
    # A process of its own: trackio reads where it keeps things once, when it is imported.
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "tracked")}
    named = ["report_to=trackio", "project=faces", "run_name=stage-1"]
    short = [f"data=[{few}]", "max_steps=3", "warmup_steps=1", "logging_steps=1"]
    recipe = str(ROOT / "recipes/tiny/1-label.yaml")
    command = [sys.executable, "-m", "emocaliber", "train", recipe, *short, *named, "--out", str(tmp_path / "out")]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
    with closing(sqlite3.connect(tmp_path / "tracked" / "faces.db")) as tracked:
        rows = tracked.execute("select run_name, metrics from metrics order by step").fetchall()
    losses = [json.loads(metrics).get("train/loss") for _, metrics in rows]
    assert {run for run, _ in rows} == {"stage-1"}
    logged = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [loss for loss in losses if loss is not None] == [line["loss"] for line in logged if "loss" in line]
    assert len(logged) >= 3
