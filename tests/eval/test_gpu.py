"""The GPU benchmark runs end to end: on a CPU with a tiny model, and, where there is a GPU, as it is meant."""

from __future__ import annotations

import importlib.util
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


def rows(report: Path) -> dict[str, list[str]]:
    """The cells of each row by its title; a title comes once a table."""
    lines = [line.strip("|").split("|") for line in report.read_text().splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def check(report: Path) -> None:
    """Nothing failed, nothing differs that should be equal, and what is left out is said."""
    cells = rows(report)
    assert "failed" not in report.read_text()
    assert "| NO |" not in report.read_text()
    assert cells["4 rows, LoRA"][-1] == cells["weights"][-1] == "yes"
    packed, padded = ([float(loss) for loss in cells[f"LoRA, {way}"][-1].split(",")] for way in ("packed", "padded"))
    assert packed == pytest.approx(padded, rel=0.01)
    assert float(cells["plain TRL, LoRA"][0]) > 0
    for method in ("proper", "grpo", "rloo", "dpo", "kto"):
        assert len(cells[method][-1].split(",")) == 2
    if importlib.util.find_spec("flash_attn") is None:
        assert cells["flash_attention_2"] == ["left out: flash_attn is not installed"]
    assert "pictures/s" in cells["label"][0]
    assert (report.parent / "gpu-losses.json").is_file()


@pytest.mark.slow
def test_the_benchmark_is_tried_on_a_cpu(tmp_path: Path) -> None:
    result = run("--device", "cpu", "--out", str(tmp_path / "gpu.md"))
    assert result.returncode == 0, result.stderr[-2000:]
    check(tmp_path / "gpu.md")
    assert "a trial of the script, no result" in (tmp_path / "gpu.md").read_text()


@pytest.mark.slow
def test_a_run_without_time_says_what_it_left_out(tmp_path: Path) -> None:
    result = run("--device", "cpu", "--out", str(tmp_path / "gpu.md"), "--seconds", "0")
    assert result.returncode == 0, result.stderr[-2000:]
    assert rows(tmp_path / "gpu.md")["full, packed"] == ["left out: the time was up"]


def test_losses_are_held_against_those_that_are_committed_for_the_same_gpu(tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    benchmark = importlib.util.module_from_spec(specification)
    sys.modules["gpu_benchmark"] = benchmark  # its dataclasses look their module up
    specification.loader.exec_module(benchmark)
    path = tmp_path / "gpu-losses.json"
    assert "kept, 2 steps" in benchmark.curve(path, "H200", [4.0, 2.0])
    assert benchmark.curve(path, "H200", [4.0, 2.02]).endswith("yes")
    assert benchmark.curve(path, "H200", [4.0, 2.1]).endswith("NO")
    assert "kept, 1 steps" in benchmark.curve(path, "A100", [3.0])


def test_figures_of_a_cpu_never_stand_as_those_of_a_gpu() -> None:
    result = run("--device", "cpu")
    assert result.returncode == 2
    assert "give another --out" in result.stderr


@pytest.mark.gpu
def test_the_benchmark_runs_on_a_gpu(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "gpu.md"))
    assert result.returncode == 0, result.stderr[-2000:]
    check(tmp_path / "gpu.md")
