"""JSON in the forms that other tools write: rows by name, wrapped, in columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data import layout_files as files

ROWS = [{"image": "0.png", "label": "joy"}, {"image": "1.png", "label": "fear"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        files.put(tmp_path / f"{number}.png", number)
    return tmp_path


def given(folder: Path, content: Any) -> Path:
    path = folder / "t.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"version": 1, "data": ROWS},
        {"0.png": "joy", "1.png": "fear"},
        {"0.png": {"label": "joy"}, "1.png": {"label": "fear"}},
        {"a": ROWS[0], "b": ROWS[1]},
        [row | {"label": {"name": row["label"]}} for row in ROWS],
        [row | {"label": f"['{row['label']}']"} for row in ROWS],
    ],
)
def test_rows_are_found_in_each_form(folder: Path, content: Any):
    assert [(s.label, s.image.name) for s in files.read(given(folder, content))] == [  # type: ignore[union-attr]
        ("joy", "0.png"), ("fear", "1.png")]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"image": {"0": "0.png"}, "label": {"0": "joy"}}, "columns, not rows"),
        ({"columns": ["image"], "index": [0], "data": [["0.png"]]}, "columns, not rows"),
        ({"images": [], "annotations": [], "categories": []}, "COCO"),
    ],
)
def test_what_is_no_rows_is_named(folder: Path, content: Any, words: str):
    (problem,) = files.problems(given(folder, content))
    assert words in problem.what
