"""Stopped by Ctrl-C, SIGTERM or kill -9: every process of a run is gone within ten seconds, its journal intact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from emocaliber.generation.journal import Journal
from emocaliber.models.location import embedded_base
from tests.generation.conftest import VLLM_ON_CPU

ROOT = Path(__file__).parents[2]
TRAIN = ["train", str(ROOT / "recipes" / "tiny" / "1-label.yaml"), "data=[emoji]", "max_steps=1000"]
PREDICT = ["predict", "kaomoji", "--model", str(embedded_base()), "--template", "label"]
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
SECONDS = 10
LAUNCHER_SECONDS = 60  # torchrun waits so long for its workers, 30 seconds, and takes leave
ENGINE_ON_RAY = "ray::_Answering"
"""Ray's other processes hold no model: they see by themselves that Ray is gone, about a minute after kill -9."""
PATIENCE = 240  # for a start on a busy machine

pytestmark = pytest.mark.slow


@contextmanager
def started(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python command whose processes are all killed at the end, whatever the test finds."""
    variables = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)} | environment
    process = subprocess.Popen([sys.executable, *command], env=variables, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        for member in family_of(process):
            member.kill()
        process.wait()


def family_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process and all that descend from it; none where it has ended."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, "the run ended before it was stopped"
        assert time.monotonic() < until, "the run did not begin"
        time.sleep(0.2)


def stop(
    process: subprocess.Popen[bytes],
    number: signal.Signals,
    members: int,
    *,
    launcher: bool = False,
    watched: str = "",
) -> None:
    """Send the signal to the first process alone; its family of at least `members` must be gone in time, or of it those
    whose names begin with `watched`. A launcher, which is not ours, takes a time of its own, and ends."""
    first, *others = family_of(process)
    family = [first, *(member for member in others if member.name().startswith(watched))]
    assert len(family) >= members
    process.send_signal(number)
    family = family[1:] if launcher else family
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and any(map(runs, family)):
        process.poll()
        time.sleep(0.1)
    left = [member for member in family if runs(member)]
    for member in left:
        member.kill()
    assert not left, f"left behind: {left}"
    process.wait(LAUNCHER_SECONDS if launcher else SECONDS)


def runs(process: psutil.Process) -> bool:
    """False for a process that has ended, whether or not anybody has taken note of it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(out: Path) -> int:
    journal = out / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def check_journal(out: Path) -> None:
    """Every line but a torn last one is an answer that the next run finds; pictures alike share one."""
    lines = (out / "journal.jsonl").read_bytes().splitlines(keepends=True)
    keys = {json.loads(line)["key"] for line in lines if line.endswith(b"\n")}
    with Journal(out / "journal.jsonl") as journal:
        assert len(journal) == len(keys) > 0


@pytest.mark.usefixtures("ray_installed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_engines_on_ray_end_with_the_run(number: signal.Signals, tmp_path: Path) -> None:
    options = ["--cluster", "ray", "--data-parallel", "2", "--batch-size", "8", "--out", str(tmp_path / "out")]
    with started("-m", "emocaliber", *PREDICT, *options) as process:
        wait_for(lambda: answers(tmp_path / "out") > 0, process)
        stop(process, number, members=3, watched=ENGINE_ON_RAY if number is signal.SIGKILL else "")
    check_journal(tmp_path / "out")


@pytest.mark.usefixtures("vllm_installed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_vllms_processes_end_with_the_run(number: signal.Signals, tmp_path: Path) -> None:
    apart = VLLM_ON_CPU | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    options = ["--engine", "vllm", "--max-model-len", "512", "--out", str(tmp_path / "out")]
    with started("-m", "emocaliber", *PREDICT, *options, **apart) as process:
        wait_for(lambda: answers(tmp_path / "out") > 0, process)
        stop(process, number, members=3)
    check_journal(tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_trainers_end_with_the_launcher(number: signal.Signals, tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "emocaliber"]
    with started(*torchrun, *TRAIN, "--out", str(tmp_path / "out")) as process:
        wait_for((tmp_path / "out" / "log.jsonl").exists, process)
        stop(process, number, members=3, launcher=True)
