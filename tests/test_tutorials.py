"""The tutorials: their blocks run as they stand, in an empty folder, and print what the page says that they print."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "recipes" / "tutorials").glob("*.md"))
BLOCKS = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
END = "<<end of a block>>"


def script_of(page: str) -> str:
    """The page's commands, in order, as one script for bash that marks where each block's output ends."""
    parts = ["set -eu", "trap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT"]
    for language, block in BLOCKS.findall(page):
        if language == "python":
            parts.append(f"python - <<'PYTHON'\n{block}PYTHON")
        elif language == "sh":
            parts.append(block)
        else:
            assert language == "text", f"a block of {language} is not run"
            continue
        parts.append(f"echo; echo '{END}'")
    return "\n".join(parts)


def expected_of(page: str) -> list[str]:
    """For each block that runs what the text block after it shows, or nothing."""
    shown: list[str] = []
    for language, block in BLOCKS.findall(page):
        shown = [*shown[:-1], block] if language == "text" else [*shown, ""]
    return shown


def plain(text: str) -> str:
    return " ".join(text.split())


def commands(folder: Path) -> str:
    """A PATH whose `emocaliber` and `python` are those of this checkout."""
    folder.mkdir()
    for name, words in (("python", ""), ("emocaliber", "-m emocaliber")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs_from_start_to_end_and_prints_what_it_shows(page: Path, tmp_path: Path):
    text = page.read_text(encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | {"PATH": commands(tmp_path / "bin"), "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = ["bash", "-c", script_of(text)]
    answer = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    printed = [plain(block) for block in answer.stdout.split(END)[:-1]]
    for output, shown in zip(printed, expected_of(text), strict=True):
        place = 0
        for line in filter(None, map(plain, re.split(r"^…$", shown, flags=re.MULTILINE))):
            assert line in output[place:], f"{line}\n\nis not what was printed:\n{output}"
            place = output.index(line, place) + len(line)


def test_the_tutorials_are_three_and_each_leads_to_the_next():
    assert [page.name[0] for page in PAGES] == ["1", "2", "3"]
    for page, following in itertools.pairwise(PAGES):
        assert f"]({following.name})" in page.read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"]({page.relative_to(ROOT)})" in readme
