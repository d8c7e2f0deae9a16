"""Recipes and suites ship: a wheel holds them, an installation finds them from anywhere, a copy overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.files import SHIPPED, copy_recipes, located, read_mapping, shipped
from emocaliber.runs.recipes import read_recipe

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
import emocaliber
from emocaliber.cli import main
from emocaliber.evaluation.suite import load_suite
from emocaliber.core.files import shipped
from emocaliber.core.files import read_mapping
assert Path(emocaliber.__file__).is_relative_to(sys.argv[1]), emocaliber.__file__
assert main(["recipe", "cp", "qwen2.5-vl-7b", "mine"]) == 0
for folder in shipped().values():
    for file in folder.glob("*.yaml"):
        read_mapping(Path("recipes", folder.name, file.name))
load_suite(Path(read_mapping(Path("mine/evaluate.yaml"))["suite"]))
"""


def test_the_wheel_puts_each_shipped_folder_where_it_is_looked_for() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {name: f"emocaliber/{inside}" for name, inside in SHIPPED.items()}


@pytest.mark.slow
def test_an_installed_wheel_has_every_recipe_and_suite_and_copies_them(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, *build], check=True)
    (wheel,), target = tmp_path.glob("*.whl"), tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--no-compile", "--target", str(target), str(wheel)], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(target)}
    subprocess.run([sys.executable, "-c", PROGRAM, str(target)], check=True, cwd=elsewhere, env=environment)
    for file in (ROOT / "recipes" / "qwen2.5-vl-7b").iterdir():
        assert (elsewhere / "mine" / file.name).read_bytes() == file.read_bytes()


def test_a_path_of_the_clone_is_found_from_anywhere_and_ones_own_file_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = Path("recipes/tiny/1-label.yaml")
    assert located(tiny) == ROOT / tiny
    tiny.parent.mkdir(parents=True)
    tiny.write_text("stage: mine\n")
    assert read_mapping(tiny) == {"stage": "mine"}
    assert located(Path("recipes/nowhere/1-label.yaml")) == Path("recipes/nowhere/1-label.yaml")


def test_a_copy_is_the_shipped_folder_and_overwrites_nothing(tmp_path: Path) -> None:
    copied = copy_recipes("tiny", tmp_path / "mine")
    assert [path.name for path in copied] == sorted(path.name for path in shipped()["tiny"].iterdir())
    mine, ours = (read_recipe(folder / "1-label.yaml") for folder in (tmp_path / "mine", shipped()["tiny"]))
    assert mine.trainer == ours.trainer
    with pytest.raises(UserError, match="is there already"):
        copy_recipes("tiny", tmp_path / "mine")
    with pytest.raises(UserError, match="choose one of"):
        copy_recipes("tini", tmp_path / "other")
