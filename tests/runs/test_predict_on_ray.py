"""Predicting on Ray: the files of a run without it, and nothing that is written is asked again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emocaliber.core.images import read_image_bytes
from emocaliber.core.predictions import read_predictions
from emocaliber.data.embedded import load

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_installed")]

ROOT = Path(__file__).parents[2]
ROWS = 90


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawings, no two alike, and files that are no pictures."""
    folder = tmp_path_factory.mktemp("photos")
    pictures = dict.fromkeys(read_image_bytes(row.image) for row in load("kaomoji", "test"))
    for number, picture in enumerate(list(pictures)[: ROWS - 2]):
        (folder / f"{number:03}.png").write_bytes(picture)
    (folder / "040-broken.jpg").write_bytes(b"no picture")
    (folder / "041-empty.jpg").write_bytes(b"")
    return folder


def command(photos: Path, out: Path, *options: str) -> list[str]:
    asked = ["predict", str(photos), "--device", "cpu", "--batch-size", "1", "--out", str(out)]
    return [sys.executable, "-m", "emocaliber", *asked, *options]


ON_RAY = ("--cluster", "ray", "--data-parallel", "2")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def test_killed_and_run_again_it_asks_only_the_rest_and_writes_the_files_of_a_run_without_ray(
    photos: Path, tmp_path: Path
) -> None:
    alone, there = tmp_path / "alone", tmp_path / "there"
    subprocess.run(command(photos, alone), check=True, env=ENVIRONMENT, capture_output=True, cwd=ROOT)
    journal = there / "journal.jsonl"
    process = subprocess.Popen(command(photos, there, *ON_RAY), env=ENVIRONMENT, stdout=subprocess.DEVNULL, cwd=ROOT)
    while not (journal.is_file() and journal.read_bytes().count(b"\n") >= 8):
        assert process.poll() is None, "the run ended before it was killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = journal.read_bytes().count(b"\n")
    done = subprocess.run(
        command(photos, there, *ON_RAY), check=True, env=ENVIRONMENT, capture_output=True, text=True, cwd=ROOT
    )
    assert before < ROWS - 2
    assert re.search(rf"{ROWS} rows, {ROWS - 2 - before} asked now: image error 2, ok \d+", done.stdout)
    keys = [json.loads(line)["key"] for line in journal.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == ROWS - 2
    for name in ("responses.jsonl", "predictions.jsonl", "predictions-logprob.jsonl", "manifest.json"):
        assert (there / name).read_bytes() == (alone / name).read_bytes()
    rows = list(read_predictions(there / "predictions.jsonl", unlabelled=True))
    assert [row.id for row in rows] == sorted(path.name for path in photos.iterdir())
