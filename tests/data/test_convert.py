"""Conversion: every layout comes back as it was read, in bounded memory, and goes on after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.images import read_image_bytes
from emocaliber.core.samples import FileImage
from emocaliber.data import convert, facts
from emocaliber.data.convert import write_parquet
from emocaliber.data.layouts import Source
from emocaliber.data.parquet import read_samples
from emocaliber.data.rows import Row, rows_only
from tests.data import layout_files as files

VOTES = [
    {"image": "0.png", "votes": [["joy", "fear"], ["joy"]], "candidates": ["joy", "fear"], "licence": "CC0-1.0"},
    {"image": "1.png", "votes": {"joy": {"mean": 2.5, "sd": 0.5, "n": 9}, "fear": {"mean": 1, "n": 9}},
     "candidates": ["joy", "fear"], "subject": "s1", "rationale": "They smile.\nAll of them."},
    {"image": "2.png", "votes": {"joy": 4, "fear": 4}, "raters": 9, "candidates": ["joy", "fear"], "split": "test"},
    {"image": "3.png", "split": "unlabelled", "candidates": ["joy", "fear"], "group": "new"},
]  # fmt: skip


def voted(folder: Path) -> Path:
    for number in range(4):
        files.put(folder / f"{number}.png", number)
    return files.lines(folder / "votes.jsonl", VOTES)


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "vecbench": files.vecbench, "ms-swift": files.swift, "emoset": files.emoset, "webemo": files.webemo,
    "artphoto": files.artphoto, "abstract": files.abstract, "ferplus": files.ferplus, "votes": voted,
    "emotion6": files.emotion6, "fer2013": files.fer2013,
    "folder": lambda folder: files.by_class(folder, "happy", "sad"),
}  # fmt: skip


def rows(source: Path) -> Iterator[Row]:
    return rows_only(Source(str(source)).rows())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_comes_back_as_it_was_read(layout: str, tmp_path: Path):
    (tmp_path / "data").mkdir()
    source = LAYOUTS[layout](tmp_path / "data")
    read = [files.with_bytes(row.sample) for row in rows(source)]
    write_parquet(rows(source), tmp_path / "out.parquet")
    assert [files.with_bytes(sample) for sample in read_samples(tmp_path / "out.parquet")] == read
    assert [files.with_bytes(sample) for sample in files.read(tmp_path / "out.parquet")] == read
    write_parquet(rows(tmp_path / "out.parquet"), tmp_path / "again.parquet")
    assert pq.read_table(tmp_path / "again.parquet").equals(pq.read_table(tmp_path / "out.parquet"))


def test_paths_are_written_under_the_files_own_folder_and_read_from_there(tmp_path: Path):
    source = files.by_class(tmp_path / "data" / "photos", "happy", "sad")
    out = tmp_path / "data" / "photos.parquet"
    write_parquet(rows(source), out, images="paths")
    sample = read_samples(out)[0]
    assert sample.image == FileImage(tmp_path / "data", "photos/happy/0.jpg")
    assert pq.read_table(out)["image"][0].as_py()["bytes"] is None
    assert read_image_bytes(sample.image) == (source / "happy" / "0.jpg").read_bytes()


def test_paths_above_the_files_folder_are_refused(tmp_path: Path):
    source = files.by_class(tmp_path / "photos", "happy", "sad")
    with pytest.raises(UserError, match=r"does not lie under .*leave --images paths out"):
        write_parquet(rows(source), tmp_path / "elsewhere" / "out.parquet", images="paths")


@pytest.mark.slow
def test_hugging_face_datasets_opens_the_file_and_decodes_its_pictures(tmp_path: Path):
    from datasets import load_dataset

    (tmp_path / "data").mkdir()
    write_parquet(rows(voted(tmp_path / "data")), tmp_path / "out.parquet")
    data = load_dataset("parquet", data_files=str(tmp_path / "out.parquet"), cache_dir=str(tmp_path / "cache"))
    first = data["train"][0]
    assert first["image"].size == (16, 16)
    assert first["votes"] == [{"label": "joy", "count": 2}, {"label": "fear", "count": 1}]


@pytest.mark.parametrize("fault", ["missing", "broken", "twice"])
def test_the_first_row_that_cannot_be_written_stops_it_with_its_sentence(fault: str, tmp_path: Path):
    names = {"missing": "gone.png", "broken": "b.png", "twice": "a.png"}
    files.put(tmp_path / "a.png", 1)
    (tmp_path / "b.png").write_bytes(b"<svg/>")
    lines = [["id", "image", "label"], ["1", "a.png", "joy"], ["1" if fault == "twice" else "2", names[fault], "fear"]]
    source = files.table(tmp_path / "t.csv", *lines)
    with pytest.raises(UserError, match=r"t\.csv, line 3: (image|id): "):
        write_parquet(rows(source), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_an_interrupted_conversion_goes_on_and_ends_with_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(convert, "PART_ROWS", 3)
    source = files.by_class(tmp_path / "photos", "happy", "sad", each=5)
    write_parquet(rows(source), tmp_path / "whole.parquet")

    def stopping() -> Iterator[Row]:
        for number, row in enumerate(rows(source)):
            if number == 7:
                raise KeyboardInterrupt
            yield row

    with pytest.raises(KeyboardInterrupt):
        write_parquet(stopping(), tmp_path / "out.parquet")
    parts = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out.parquet.parts-*/*.parquet")}
    assert len(parts) == 2
    write_parquet(rows(source), tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob("*.parts-*"))


def test_parts_of_rows_that_have_changed_are_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(convert, "PART_ROWS", 3)
    source = files.by_class(tmp_path / "photos", "happy", "sad", each=5)

    def stopping() -> Iterator[Row]:
        yield from (row for number, row in enumerate(rows(source)) if number < 7)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parquet(stopping(), tmp_path / "out.parquet")
    (source / "happy" / "1.jpg").unlink()
    write_parquet(rows(source), tmp_path / "out.parquet")
    assert [s.id for s in read_samples(tmp_path / "out.parquet")] == [row.sample.id for row in rows(source)]


@pytest.mark.slow
@pytest.mark.parametrize("action", ["check", "convert"])
def test_what_is_killed_goes_on_where_it_was_and_ends_as_if_it_had_not_been(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = files.by_class(tmp_path / "photos", "happy", "sad", each=600)
    monkeypatch.setenv("EMOCALIBER_CACHE", str(tmp_path / "killed"))
    program = "from emocaliber.data import convert, facts; convert.PART_ROWS = facts.CHUNK = 50; "
    program += "from emocaliber.cli import main; "
    monkeypatch.setattr(convert, "PART_ROWS", 50)
    results = []
    for name in ("killed", "whole"):
        out = tmp_path / name / ("" if action == "check" else "out.parquet")
        arguments = ["data", action, str(source), "--out", str(out), *(["--workers", "1"] if action == "check" else [])]
        if name == "killed":
            kill_when_begun([sys.executable, "-c", f"{program} main({arguments!r})"], tmp_path / name)
        assert main(arguments) == 0
        results.append((out / "report.json" if action == "check" else out).read_bytes())
    assert results[0] == results[1]


def kill_when_begun(command: list[str], folder: Path) -> None:
    """Start it, and end it by SIGKILL as soon as a part of the work is on the disk."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not (known(folder) or list(folder.glob("*/*.parquet"))):
        time.sleep(0.01)
    assert process.poll() is None, "it had ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def known(folder: Path) -> int:
    """How many pictures a check has kept so far."""
    if not (folder / "pictures.sqlite").exists():
        return 0
    with closing(sqlite3.connect(folder / "pictures.sqlite")) as base, suppress(sqlite3.Error):
        return int(base.execute(f"SELECT count(*) FROM {facts._TABLE}").fetchone()[0])
    return 0
