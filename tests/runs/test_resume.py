"""A step is done once for the same inputs, resumes after a stop, and refuses other inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emocaliber.core.errors import UserError
from emocaliber.runs.resume import DEFAULTS, run_step


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


def test_other_inputs_are_refused_by_name_and_nothing_is_removed(tmp_path: Path) -> None:
    run_step(tmp_path / "s", {"a": 1, "b": 0}, counting([]))
    calls: list[Path] = []
    with pytest.raises(UserError, match=r"a: 1 is now 2\); name another --out"):
        run_step(tmp_path / "s", {"a": 2, "b": 0}, counting(calls))
    assert not calls
    assert (tmp_path / "s" / "partial").read_text() == "half"


def test_a_folder_of_other_files_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds thesis\.txt"):
        run_step(tmp_path, {"a": 1}, counting([]))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_recipe_key_that_came_later_is_no_difference_at_its_default_and_one_otherwise(tmp_path: Path) -> None:
    before = {"recipe": {"seed": 1}, "data": {}}
    now = {"recipe": {"seed": 1, "thinking": None, "gain_alpha": DEFAULTS["gain_alpha"]}, "data": {}}
    other = {"recipe": {**now["recipe"], "gain_alpha": 0.5}, "data": {}}
    calls: list[Path] = []
    with pytest.raises(RuntimeError):
        run_step(tmp_path / "s", before, counting(calls, fail=True))
    with pytest.raises(UserError, match=r"recipe\.gain_alpha: .* is now 0\.5"):
        run_step(tmp_path / "s", other, counting(calls))
    run_step(tmp_path / "s", now, counting(calls))
    run_step(tmp_path / "s", before, counting(calls))
    assert len(calls) == 2
