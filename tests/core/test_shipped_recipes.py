"""Recipes, suites, prompts and the tiny model ship: a wheel holds them, an installation finds them from anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import emocaliber
from emocaliber.core.errors import UserError
from emocaliber.core.files import SHIPPED, copy_recipes, read_mapping, resolve_shipped, shipped_recipes
from emocaliber.runs.recipes import read_recipe

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
import emocaliber
from emocaliber.cli import main
from emocaliber.evaluation.suite import load_suite
from emocaliber.core.files import read_mapping, shipped_recipes
from emocaliber.core.prompting import template_names
assert Path(emocaliber.__file__).is_relative_to(sys.argv[1]), emocaliber.__file__
assert main(["recipe", "cp", "qwen2.5-vl-7b", "mine"]) == 0
for folder in shipped_recipes().values():
    for file in folder.glob("*.yaml"):
        read_mapping(Path("recipes", folder.name, file.name))
load_suite(Path(read_mapping(Path("mine/evaluate.yaml"))["suite"]))
assert set(template_names()) == set(sys.argv[2].split(",")), template_names()
assert main(["predict", "kaomoji", "--limit", "2", "--out", "answers.csv"]) == 0
assert len(Path("answers.csv").read_text().splitlines()) == 3
"""


def test_the_wheel_contains_each_shipped_folder_at_the_expected_path() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {name: f"emocaliber/{inside}" for name, inside in SHIPPED.items()}


@pytest.mark.slow
def test_an_installed_wheel_has_its_command_all_that_ships_and_a_model_that_predicts(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, *build], check=True)
    (wheel,), target = tmp_path.glob("*.whl"), tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--no-compile", "--target", str(target), str(wheel)], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(target)}
    prompts = ",".join(path.stem for path in (ROOT / "prompts").glob("*.yaml"))
    program = [sys.executable, "-c", PROGRAM, str(target), prompts]
    subprocess.run(program, check=True, cwd=elsewhere, env=environment)
    script = [sys.executable, target / "bin" / "emocaliber", "--version"]
    answer = subprocess.run(script, check=True, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert answer.stdout == f"emocaliber {emocaliber.__version__}\n"
    assert "License-File: LICENSE" in next(target.glob("emocaliber-*.dist-info")).joinpath("METADATA").read_text()
    for file in (ROOT / "recipes" / "qwen2.5-vl-7b").iterdir():
        assert (elsewhere / "mine" / file.name).read_bytes() == file.read_bytes()


def test_a_path_of_the_clone_is_found_from_anywhere_and_ones_own_file_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = Path("recipes/tiny/1-label.yaml")
    assert resolve_shipped(tiny) == ROOT / tiny
    tiny.parent.mkdir(parents=True)
    tiny.write_text("stage: mine\n")
    assert read_mapping(tiny) == {"stage": "mine"}
    assert resolve_shipped(Path("recipes/nowhere/1-label.yaml")) == Path("recipes/nowhere/1-label.yaml")


def test_a_copy_is_the_shipped_folder_and_overwrites_nothing(tmp_path: Path) -> None:
    copied = copy_recipes("tiny", tmp_path / "mine")
    assert [path.name for path in copied] == sorted(path.name for path in shipped_recipes()["tiny"].iterdir())
    mine, ours = (read_recipe(folder / "1-label.yaml") for folder in (tmp_path / "mine", shipped_recipes()["tiny"]))
    assert mine.trainer == ours.trainer
    with pytest.raises(UserError, match="exists already"):
        copy_recipes("tiny", tmp_path / "mine")
    with pytest.raises(UserError, match="choose one of"):
        copy_recipes("tini", tmp_path / "other")
