"""Arrows point down only: judging and reading load no torch, makers of predictions do not know each other."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "emocaliber"
HEAVY = {"torch", "transformers", "trl", "peft", "vllm", "accelerate", "datasets"}
LIGHT = [
    "emocaliber",
    "emocaliber.cli",
    "emocaliber.evaluation.compute",
    "emocaliber.reading",
    "emocaliber.rewards",
    "emocaliber.runs.scoring",
]


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield f"{node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ["evaluation", "reading"])
def test_judging_and_reading_name_no_torch_and_no_data_set(room: str):
    for path in _files(room):
        heavy = {name.split(".")[0] for name in _imports(path)} & HEAVY
        assert not heavy, f"{path} imports {heavy}"
        assert not any(name.startswith("emocaliber.data") for name in _imports(path)), path


@pytest.mark.parametrize("room", ["stages", "generation", "baselines"])
def test_makers_of_predictions_do_not_import_each_other(room: str):
    others = tuple(f"emocaliber.{name}" for name in {"stages", "generation", "baselines"} - {room})
    for path in _files(room):
        assert not [name for name in _imports(path) if name.startswith(others)], path


def test_nobody_imports_the_command_line_or_the_chat():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        faces = {"__main__.py": (), "cli": (), "chat": ("cli",)}.get(room, ("cli", "chat"))
        above = tuple(f"emocaliber.{name}" for name in faces)
        assert not (above and any(name.startswith(above) for name in _imports(path))), path


def test_no_room_imports_a_room_that_imports_it():
    rooms = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())
    named = {room: {name for path in _files(room) for name in _imports(path)} for room in rooms}
    imports = {
        room: {other for other in rooms if other != room and any(n.startswith(f"emocaliber.{other}.") for n in names)}
        for room, names in named.items()
    }
    graph = graphlib.TopologicalSorter(imports)
    assert list(graph.static_order())[-1] == "cli"


@pytest.mark.slow
@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_loads_no_torch(module: str):
    program = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
