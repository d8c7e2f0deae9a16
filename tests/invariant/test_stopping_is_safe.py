"""Promise: stopping is safe at any point. What was cut off at any byte goes on from there, and ends as if it had never
been stopped; training and generation under kill -9 are in tests/runs and tests/generation, with one of them here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction, read_predictions, write_predictions
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import load
from emocaliber.generation.engine import STOP, Response
from emocaliber.generation.journal import Journal
from emocaliber.runs.resume import run_step
from tests.prediction_rows import predictions

ANSWERS = [Response(str(n), f"<answer>é{n}</answer>", STOP, tokens=n) for n in range(4)]


def answered(path: Path) -> list[Response | None]:
    with Journal(path) as journal:
        return [journal.find(answer.sample_id) for answer in ANSWERS]


def test_a_journal_cut_at_any_byte_keeps_its_complete_answers_and_goes_on(tmp_path: Path):
    with Journal(tmp_path / "all.jsonl") as journal:
        journal.append([(answer.sample_id, answer) for answer in ANSWERS])
    content = (tmp_path / "all.jsonl").read_bytes()
    for cut in range(len(content) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(content[:cut])
        complete = content[:cut].count(b"\n")
        assert answered(path) == [*ANSWERS[:complete], *[None] * (len(ANSWERS) - complete)]
        with Journal(path) as journal:
            journal.append([(answer.sample_id, answer) for answer in ANSWERS[complete:]])
        assert path.read_bytes() == content


def test_a_step_that_stops_is_done_again_and_a_finished_one_is_not(tmp_path: Path):
    done: list[str] = []

    def work(folder: Path) -> dict[str, int]:
        done.append(folder.name)
        if len(done) == 1:
            raise KeyboardInterrupt
        return {"calls": len(done)}

    with pytest.raises(KeyboardInterrupt):
        run_step(tmp_path / "step", {"a": 1}, work)
    for _ in range(2):
        assert run_step(tmp_path / "step", {"a": 1}, work) == {"calls": 2}


def test_a_write_that_stops_leaves_the_old_file(tmp_path: Path):
    rows, path = predictions(n=3), tmp_path / "rows.jsonl"
    write_predictions(path, rows)

    def stopped() -> Sequence[Prediction]:
        yield rows[0]  # type: ignore[misc]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(path, stopped())
    with pytest.raises(ZeroDivisionError):
        write_atomically(path, (bytes(1 // n) for n in (1, 0)))
    assert list(read_predictions(path)) == rows
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.slow
def test_generation_killed_again_and_again_ends_as_an_uninterrupted_one(tmp_path: Path):
    def command(out: Path) -> list[str]:
        options = ["kaomoji", "--split", "test", "--limit", "24", "--model", "tiny", "--batch-size", "4"]
        adapter = ["--adapter", str(Path(load.__code__.co_filename).parent / "tiny-adapter")]
        return [sys.executable, "-m", "emocaliber", "predict", *options, *adapter, "--out", str(out)]

    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    subprocess.run(command(straight), check=True, env=environment, capture_output=True)
    for lines in (1, 9):
        process = subprocess.Popen(
            command(stopped), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        journal = stopped / "journal.jsonl"
        while process.poll() is None and not (journal.is_file() and journal.read_bytes().count(b"\n") >= lines):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command(stopped), check=True, env=environment, capture_output=True)
    rows = [list(read_predictions(out / "predictions.jsonl")) for out in (straight, stopped)]
    assert rows[0] == rows[1]
    assert {row.id for row in rows[0]} <= {sample.id for sample in samples()}
    assert len(rows[0]) == 24


def samples() -> list[Sample]:
    return load("kaomoji", "test")
