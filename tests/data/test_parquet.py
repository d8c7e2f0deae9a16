"""A Parquet file of samples: what is written is read back, and bad rows are named."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emocaliber.core import stored_images
from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, read_image_bytes
from emocaliber.core.samples import FileImage, StoredImage
from emocaliber.data.convert import write_rows
from emocaliber.data.parquet import read_samples


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
    first, second = read_samples(path)
    assert (first.id, first.label, first.votes, first.candidates) == (
        "one",
        "good",
        {"bad": 1, "good": 2},
        ("bad", "good"),
    )
    assert first.image == StoredImage(path, 0, 0)
    assert read_image_bytes(first.image) == row()["image"]["bytes"]
    assert (second.id, second.label, second.votes) == ("two", None, None)
    assert read_samples(path, "test") == [second]


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


def test_several_splits_are_read_in_the_files_order_and_one_that_is_missing_is_no_fault_there(tmp_path: Path):
    path = written(tmp_path, *(row(id=str(n), split=("train", "test", "calibrate")[n % 3]) for n in range(7)))
    assert [sample.id for sample in read_samples(path, ["train", "calibrate"])] == ["0", "2", "3", "5", "6"]
    assert [sample.id for sample in read_samples(path, ["emoji:test"])] == ["1", "4"]
    assert read_samples(path, ["kaomoji:test", "unlabelled"]) == []


def test_pictures_of_every_row_group_are_read_from_their_own_place(tmp_path: Path):
    shades = [picture(shade) for shade in range(20)]
    rows = [row(id=str(n), image={"bytes": shade, "path": None}) for n, shade in enumerate(shades)]
    table = pq.read_table(written(tmp_path, *rows))
    pq.write_table(table, tmp_path / "small.parquet", row_group_size=3)
    samples = read_samples(tmp_path / "small.parquet")
    assert [read_image_bytes(sample.image) for sample in reversed(samples)] == shades[::-1]


def test_rows_that_are_alike_share_what_they_say_and_others_do_not(tmp_path: Path):
    rows = [row(id=str(n), votes={"bad": n % 2, "good": 2}) for n in range(6)] + [row(id="none", votes=None)]
    pq.write_table(pq.read_table(written(tmp_path, *rows)), tmp_path / "small.parquet", row_group_size=2)
    samples = read_samples(tmp_path / "small.parquet")
    assert [sample.votes for sample in samples] == [*({"bad": n % 2, "good": 2} for n in range(6)), None]
    assert len({id(sample.votes) for sample in samples}) == 3
    assert len({id(sample.candidates) for sample in samples}) == 1


def test_a_file_with_pictures_and_paths_mixed_is_read_row_by_row(tmp_path: Path):
    (tmp_path / "b.png").write_bytes(picture(2))
    stored, named = {"bytes": picture(1), "path": "a.png"}, {"bytes": None, "path": "b.png"}
    first, second = read_samples(written(tmp_path, row(image=stored), row(id="two", image=named)))
    assert isinstance(first.image, StoredImage)
    assert second.image == FileImage(tmp_path, "b.png")
    assert [read_image_bytes(first.image), read_image_bytes(second.image)] == [picture(1), picture(2)]


def test_a_file_that_is_written_anew_is_read_anew_and_one_that_is_gone_is_named(tmp_path: Path):
    path = written(tmp_path, row(image={"bytes": picture(1), "path": None}))
    (sample,) = read_samples(path)
    assert read_image_bytes(sample.image) == picture(1)
    path.unlink()
    with pytest.raises(ImageError, match=r"samples\.parquet, row 0"):
        read_image_bytes(sample.image)
    written(tmp_path, row(image={"bytes": picture(200), "path": None}), row(id="two"))
    assert read_image_bytes(sample.image) == picture(200)


def test_what_is_kept_of_row_groups_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored_images, "CACHED_BYTES", 500)
    rows = [row(id=str(n), image={"bytes": picture(n), "path": None}) for n in range(12)]
    pq.write_table(pq.read_table(written(tmp_path, *rows)), tmp_path / "small.parquet", row_group_size=1)
    for sample in read_samples(tmp_path / "small.parquet"):
        read_image_bytes(sample.image)
        assert sum(column.nbytes for column in stored_images._columns.values()) <= 500


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 6), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


MANY = 20_000
MEASURED = """
import sys
from emocaliber.data.embedded import samples_in
from emocaliber.data.leaks import check_disjoint
import emocaliber.core.stored_images, pyarrow.parquet
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
before = peak()
samples = samples_in([sys.argv[1]])
check_disjoint(samples)
print(len(samples), round(peak() - before))
"""


@pytest.mark.slow
def test_twenty_thousand_rows_are_read_and_compared_within_a_small_part_of_their_size(tmp_path: Path):
    noise = np.random.default_rng(0).bytes(31_000)
    columns = {name: ["t"] * MANY for name in ("task", "group", "licence")} | {
        "id": [str(n) for n in range(MANY)], "cluster": [str(n) for n in range(MANY)], "label": ["a"] * MANY,
        "candidates": [["a", "b"]] * MANY, "split": [("train", "calibrate", "test")[n % 3] for n in range(MANY)],
    }  # fmt: skip
    with pq.ParquetWriter(tmp_path / "many.parquet", pa.table(numbered(columns, 0, 1, noise)).schema) as writer:
        for start in range(0, MANY, 100):
            writer.write_table(pa.table(numbered(columns, start, start + 100, noise)))
    size = (tmp_path / "many.parquet").stat().st_size / 1e6
    assert size > 600
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "many.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, megabytes = map(int, done.stdout.split())
    assert rows == MANY
    assert megabytes <= 0.4 * size, f"{megabytes} MB more for {size:.0f} MB of pictures"


def numbered(columns: dict[str, list[Any]], start: int, stop: int, noise: bytes) -> dict[str, Any]:
    """The rows from `start`, each with a picture of its own and 31 kilobytes after it, which decoders pass over."""
    pictures = []
    for n in range(start, stop):
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (n % 256, n // 256, 0)).save(buffer, "PNG")
        pictures.append({"bytes": buffer.getvalue() + noise, "path": None})
    return {name: values[start:stop] for name, values in columns.items()} | {"image": pictures}
