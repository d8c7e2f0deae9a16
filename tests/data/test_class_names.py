"""Class numbers have the names that their own file gives them, in each form that Hugging Face datasets has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emocaliber.data.layouts import Source
from emocaliber.data.rows import Note, Row
from emocaliber.data.sources import PredictionSource
from tests.data import layout_files as files


def names(*labels: str) -> dict[str, Any]:
    return {"_type": "ClassLabel", "names": list(labels)}


def written(path: Path, labels: list[Any], feature: Any, column: str = "label") -> Path:
    """A Parquet file of one picture a label; `feature` describes the column, or is text in the place of all."""
    pictures = [{"bytes": files.picture(hash(path.name) % 1000 + i), "path": None} for i in range(len(labels))]
    described = feature if isinstance(feature, str) else json.dumps({"info": {"features": {column: feature}}})
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": pictures, column: labels}).replace_schema_metadata({"huggingface": described})
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("labels", "feature"),
    [
        ([1, 0], names("joy", "fear")),
        ([[1], [0]], {"_type": "Sequence", "feature": names("joy", "fear"), "length": -1}),
        ([[1], [0]], {"_type": "List", "feature": names("joy", "fear")}),
        ([[1], [0]], [names("joy", "fear")]),
        ([{"label": 1}, {"label": 0}], {"label": names("joy", "fear")}),
    ],
)
def test_nested_class_numbers_are_named(tmp_path: Path, labels: list[Any], feature: Any):
    assert [s.label for s in files.read(written(tmp_path / "t.parquet", labels, feature))] == ["fear", "joy"]


def test_files_that_number_their_classes_in_another_order_are_each_read_by_their_own(tmp_path: Path):
    written(tmp_path / "data/train-00000-of-00002.parquet", [0, 1], names("joy", "fear"))
    written(tmp_path / "data/train-00001-of-00002.parquet", [0, 1], names("fear", "joy"))
    assert [s.label for s in files.read(tmp_path)] == ["joy", "fear", "fear", "joy"]
    predicted = PredictionSource((str(tmp_path),), own_labels=("joy", "fear")).samples(None)
    assert [s.label for s in predicted] == ["joy", "fear", "fear", "joy"]


def test_files_that_know_other_classes_are_a_problem_that_names_both(tmp_path: Path):
    written(tmp_path / "data/train-0.parquet", [0, 1], names("joy", "fear"))
    written(tmp_path / "data/test-0.parquet", [0, 1], names("joy", "sad"))
    kinds = [problem.kind for problem in files.problems(tmp_path)]
    assert kinds[0] == "labels differ between files"


@pytest.mark.parametrize("described", [names("0", "1"), "{", "[1]", '{"info": null}'])
def test_names_that_are_numbers_and_metadata_of_other_tools_name_nothing(tmp_path: Path, described: Any):
    listed = files.problems(written(tmp_path / "t.parquet", [0, 1], described))
    assert {problem.kind for problem in listed} == {"class number without a name"}


def test_of_class_names_nan_is_no_label_none_is_one_and_twins_are_one(tmp_path: Path):
    path = written(tmp_path / "t.parquet", [0, 1, 2, 3, 4], names("joy", "none", "nan", "Joy ", "fear"))
    rows = list(Source(str(path)).rows())
    (note,) = [row for row in rows if isinstance(row, Note)]
    assert "'Joy '" in str(note)
    assert [row.sample.label for row in rows if isinstance(row, Row)] == ["joy", "none", "joy", "fear"]
    (problem,) = files.problems(path)
    assert (problem.kind, problem.place.line) == ("no label", 3)


def test_a_number_beyond_the_classes_is_named_with_those_that_there_are(tmp_path: Path):
    (problem,) = files.problems(written(tmp_path / "t.parquet", [0, 7], names("joy", "fear")))
    assert "the classes are 0=joy, 1=fear" in problem.what


def test_labels_of_bytes_are_text(tmp_path: Path):
    assert [s.label for s in files.read(written(tmp_path / "t.parquet", [b"joy", b"fear"], "{}"))] == ["joy", "fear"]


def test_the_card_may_describe_a_list_of_classes(tmp_path: Path):
    listed = "    sequence:\n      class_label:\n        names:\n          '0': joy\n          '1': fear\n"
    (tmp_path / "README.md").write_text(f"---\ndataset_info:\n  features:\n  - name: labels\n{listed}---\n")
    path = written(tmp_path / "data" / "train-00000-of-00001.parquet", [[1], [0]], "{}", "labels")
    assert [s.label for s in files.read(path)] == ["fear", "joy"]


def test_a_file_named_as_a_split_of_no_known_name_is_asked_about(tmp_path: Path):
    written(tmp_path / "data/extra-00000-of-00001.parquet", [0, 1], names("joy", "fear"))
    written(tmp_path / "data/test-00000-of-00001.parquet", [0, 1], names("joy", "fear"))
    (problem,) = files.problems(tmp_path)
    assert problem.kind == "unknown split"
    assert "'extra'" in problem.what


def test_several_pictures_in_a_row_are_named_as_such(tmp_path: Path):
    pictures = [{"bytes": files.picture(i), "path": None} for i in range(3)]
    table = pa.table({"images": [pictures[:1], pictures[1:]], "label": ["joy", "fear"]})
    pq.write_table(table, tmp_path / "t.parquet")
    (problem,) = files.problems(tmp_path / "t.parquet")
    assert (problem.kind, problem.place.line) == ("several images", 2)
