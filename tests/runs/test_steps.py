"""A step is done once for the same inputs, goes on after a stop, and starts afresh when its inputs change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emocaliber.runs.steps import run_step


def counting(calls: list[Path], fail: bool = False) -> Any:
    def work(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        (folder / "partial").write_text("half")
        if fail:
            raise RuntimeError("stopped")
        return {"n": len(calls)}

    return work


def test_a_finished_step_is_not_done_again(tmp_path: Path) -> None:
    calls: list[Path] = []
    first = run_step(tmp_path / "s", {"a": (1, 2)}, counting(calls))
    assert run_step(tmp_path / "s", {"a": (1, 2)}, counting(calls)) == first == {"n": 1}


def test_a_stopped_step_keeps_its_folder_and_goes_on(tmp_path: Path) -> None:
    calls: list[Path] = []
    with pytest.raises(RuntimeError):
        run_step(tmp_path / "s", {"a": 1}, counting(calls, fail=True))
    seen: list[bool] = []
    run_step(tmp_path / "s", {"a": 1}, lambda folder: {"kept": seen.append((folder / "partial").exists())})
    assert seen == [True]


def test_other_inputs_start_from_an_empty_folder(tmp_path: Path) -> None:
    run_step(tmp_path / "s", {"a": 1}, counting([]))
    seen: list[bool] = []
    run_step(tmp_path / "s", {"a": 2}, lambda folder: {"kept": seen.append((folder / "partial").exists())})
    assert seen == [False]
