"""The Dockerfile, as far as it can be tried without Docker: its images, its extras, and the wheel that it builds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [line for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def runs() -> list[str]:
    return [re.sub(r"^RUN (--mount=\S+ )?", "", line).strip() for line in INSTRUCTIONS if line.startswith("RUN ")]


def sent_to_docker(path: Path) -> bool:
    """Whether .dockerignore lets a file in: the last pattern that fits it decides."""
    parts = path.relative_to(ROOT).parts
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    let_in = True
    for pattern in (ROOT / ".dockerignore").read_text().splitlines():
        name = pattern.removeprefix("!")
        fits = any(fnmatch(part, name.removeprefix("**/")) for part in (parts if name.startswith("**/") else above))
        if fits and not pattern.startswith("#"):
            let_in = pattern.startswith("!")
    return let_in


def test_every_image_has_an_exact_version_and_both_targets_are_there():
    images = re.findall(r"^FROM (\S+) AS (\S+)$", TEXT, re.MULTILINE)
    assert [stage for _, stage in images] == ["wheel", "cuda", "cpu"], "the last is the default"
    for image, _ in images:
        assert re.fullmatch(r"[\w./]+:\d+\.\d+\.\d+-[\w.-]+", image), image


def test_every_extra_that_is_installed_is_one_of_the_projects_with_its_exact_versions():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    installs = [run for run in runs() if "pip install" in run]
    assert len(installs) == 2
    for install in installs:
        (named,) = re.findall(r"emocaliber\[(.+?)\]", install)
        assert set(named.split(",")) <= extras
        assert "--constraint /built/source/constraints.txt" in install
    assert sent_to_docker(ROOT / "constraints.txt")


def test_commands_that_its_first_lines_show_are_understood():
    from emocaliber.cli.main import build_parser

    shown = re.findall(r"^#   docker run .* emocaliber:\w+ (.*)$", TEXT, re.MULTILINE)
    assert len(shown) == 2
    for line in shown:
        build_parser().parse_command(line.split())


@pytest.mark.slow
def test_the_wheel_of_the_image_is_built_from_what_dockerignore_lets_in(tmp_path: Path):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    tracked = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    sent = [path for path in tracked if sent_to_docker(path)]
    assert not [path for path in sent if path.is_relative_to(ROOT / "tests") or path.is_relative_to(ROOT / "scripts")]
    for path in sent:
        copy = tmp_path / "source" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    build = runs()[0].replace("/wheels", str(tmp_path / "wheels")).replace("pip", f"{sys.executable} -m pip", 1)
    offline = os.environ | {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_QUIET": "1"}
    subprocess.run(build, shell=True, check=True, cwd=tmp_path / "source", env=offline)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    shipped = {"recipes": "emocaliber/recipes", "prompts": "emocaliber/prompts", "eval/suites": "emocaliber/suites"}
    expected = {str(path.relative_to(ROOT)) for path in tracked if path.is_relative_to(ROOT / "emocaliber")}
    for folder, inside in shipped.items():
        files = (path.relative_to(ROOT / folder) for path in tracked if path.is_relative_to(ROOT / folder))
        expected |= {f"{inside}/{file}" for file in files}
    assert packed == expected
