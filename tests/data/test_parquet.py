"""A Parquet file of samples: what is written is read back, and bad rows are named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.data.parquet import read_samples, write_rows


def row(**changes: object) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 6), "red").save(buffer, "PNG")
    return {
        "id": "one",
        "image": {"bytes": buffer.getvalue(), "path": "one.png"},
        "task": "emoji",
        "candidates": ["bad", "good"],
        "label": "good",
        "votes": {"bad": 1, "good": 2},
        "split": "train",
        "group": "g",
        "cluster": "c",
        "licence": "CC0-1.0",
        "style": "s",
    } | changes


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    write_rows(folder / "samples.parquet", rows, {"style": "string"})
    return folder / "samples.parquet"


def test_what_is_written_is_read_back_in_order(tmp_path: Path):
    path = written(tmp_path, row(), row(id="two", label=None, votes=None, split="test"))
    one, two = read_samples(path)
    assert (one.id, one.label, one.votes, one.candidates) == ("one", "good", {"bad": 1, "good": 2}, ("bad", "good"))
    assert one.image == row()["image"]["bytes"]
    assert (two.id, two.label, two.votes) == ("two", None, None)
    assert read_samples(path, "test") == [two]


@pytest.mark.slow
def test_hugging_face_datasets_reads_the_file_and_decodes_its_pictures(tmp_path: Path):
    from datasets import load_dataset

    path = written(tmp_path, row())
    (read,) = load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert read["image"].size == (5, 6)
    assert read["votes"] == [{"label": "bad", "count": 1}, {"label": "good", "count": 2}]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([row(), row()], r"row 1: id 'one' comes a second time"),
        ([row(), row(id="two", label="ugly")], r"row 1 \(two\): 'ugly' is not among its candidates"),
        ([row(votes={"ugly": 1})], r"row 0 \(one\): 'ugly' is not among its candidates"),
    ],
)
def test_a_bad_row_is_named_with_its_file(tmp_path: Path, rows: list[dict[str, Any]], complaint: str):
    with pytest.raises(UserError, match=rf"samples\.parquet: {complaint}"):
        read_samples(written(tmp_path, *rows))


def test_a_missing_column_is_named(tmp_path: Path):
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.table({"id": ["one"]}), path)
    with pytest.raises(UserError, match=r"no column 'image'"):
        read_samples(path)


def test_a_missing_file_a_file_of_another_kind_and_a_split_without_rows_are_told_apart(tmp_path: Path):
    with pytest.raises(UserError, match="no such file"):
        read_samples(tmp_path / "samples.parquet")
    (tmp_path / "samples.parquet").write_text("not Parquet")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_samples(tmp_path / "samples.parquet")
    with pytest.raises(UserError, match="no row has split 'validation'; there are train"):
        read_samples(written(tmp_path, row()), "validation")
