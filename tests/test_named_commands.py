"""Every module and script that a document, a docstring or a comment names exists, so that its commands can be run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("emocaliber", "eval", "prompts", "recipes", "scripts")
SUFFIXES = (".md", ".py", ".sh", ".slurm", ".yaml")
MODULE = re.compile(r"-m ((?:eval|scripts)(?:\.\w+)+)")
FILE = re.compile(r"(?<![\w/.-])(?:emocaliber|eval|scripts|tests)/[\w/.-]+\.(?:py|sh|slurm)\b")


def texts() -> dict[str, str]:
    """What is read by people, by its path."""
    paths = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths if path.suffix in SUFFIXES}


def named(text: str) -> dict[str, str]:
    """The path of each module or script in a text, by what the text says."""
    modules = {name: name.replace(".", "/") + ".py" for name in MODULE.findall(text)}
    return modules | {name: name for name in FILE.findall(text)}


@pytest.fixture(scope="module")
def everywhere() -> dict[str, dict[str, str]]:
    return {path: named(text) for path, text in texts().items()}


def test_what_documents_and_docstrings_name_is_there(everywhere: dict[str, dict[str, str]]):
    gone = [
        f"{path}: {name}"
        for path, names in everywhere.items()
        for name, file in names.items()
        if not (ROOT / file).is_file()
    ]
    assert gone == []


def test_modules_and_scripts_are_found_in_the_texts(everywhere: dict[str, dict[str, str]]):
    files = {file for names in everywhere.values() for file in names.values()}
    assert {"eval/benchmarks/floors.py", "scripts/train_road.sh"} <= files
    assert named("python -m eval.benchmarks.gone, then `scripts/gone.py`.") == {
        "eval.benchmarks.gone": "eval/benchmarks/gone.py",
        "scripts/gone.py": "scripts/gone.py",
    }
