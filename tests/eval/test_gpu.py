"""The GPU benchmark runs end to end: on a CPU with a tiny model, and, where there is a GPU, as it is meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "eval" / "benchmarks" / "gpu.py"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options], env=environment, capture_output=True, text=True, check=False
    )


def check(report: Path) -> None:
    rows = [line.split("|")[1:-1] for line in report.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 5
    assert all(float(row[1]) > 0 and len(row[4].split(",")) == 3 for row in rows)
    packed, padded = ([float(loss) for loss in row[4].split(",")] for row in rows[:2])
    assert packed == pytest.approx(padded, rel=0.01)
    assert "pictures/s" in report.read_text()


@pytest.mark.slow
def test_the_benchmark_is_tried_on_a_cpu(tmp_path: Path) -> None:
    result = run("--device", "cpu", "--out", str(tmp_path / "gpu.md"))
    assert result.returncode == 0, result.stderr[-2000:]
    check(tmp_path / "gpu.md")
    assert "a trial of the script, no result" in (tmp_path / "gpu.md").read_text()


def test_figures_of_a_cpu_never_stand_as_those_of_a_gpu() -> None:
    result = run("--device", "cpu")
    assert result.returncode == 2
    assert "give another --out" in result.stderr


@pytest.mark.gpu
def test_the_benchmark_runs_on_a_gpu(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "gpu.md"))
    assert result.returncode == 0, result.stderr[-2000:]
    check(tmp_path / "gpu.md")
