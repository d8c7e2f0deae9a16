"""A data set's zip is read as the folder that it holds."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.data.archives import unpacked
from emocaliber.data.layouts import Source
from emocaliber.data.rows import Row
from emocaliber.data.sources import PredictionSource
from tests.data.layout_files import picture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOCALIBER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def labels(path: Path) -> list[tuple[str, str | None]]:
    rows = list(Source(str(path)).rows())
    assert all(isinstance(row, Row) for row in rows), rows
    return [(row.sample.id, row.sample.label) for row in rows if isinstance(row, Row)]


FACES = {f"{split}/{label}/{number}.png": picture(number) for number, (split, label) in enumerate(
    (split, label) for split in ("train", "test") for label in ("joy", "fear"))}  # fmt: skip


@pytest.mark.parametrize("wrapper", ["", "faces-main/", "a/b/"])
def test_folders_that_only_wrap_and_leftovers_are_passed(tmp_path: Path, wrapper: str):
    files = {wrapper + name: content for name, content in FACES.items()}
    path = archive(tmp_path / "Faces.ZIP", files | {"__MACOSX/._faces": b"x", wrapper + ".DS_Store": b"x"})
    assert labels(path) == [(name, name.split("/")[1]) for name in sorted(FACES, reverse=False)]


def test_an_archive_of_one_table_is_that_table(tmp_path: Path):
    pixels = " ".join(["7"] * 4)
    path = archive(tmp_path / "fer.zip", {"fer2013.csv": f"emotion,pixels,Usage\n3,{pixels},Training\n".encode()})
    assert labels(path) == [("fer2013/1", "happy")]


def test_it_is_unpacked_once_and_anew_where_it_changed(tmp_path: Path, cache: Path):
    path = archive(tmp_path / "set.zip", FACES)
    first = unpacked(path)
    assert unpacked(path) == first
    assert [entry.name for entry in (cache / "unpacked").iterdir()] == [first.name]
    archive(path, FACES | {"more.txt": b"more"})
    assert unpacked(path) != first


def test_nothing_is_written_outside_and_what_is_no_zip_is_refused(tmp_path: Path, cache: Path):
    evil = archive(
        tmp_path / "evil.zip", {"../../escaped.png": picture(1), "/absolute.png": picture(2), "joy/a.png": picture(3)}
    )
    inside = cache / "unpacked"
    unpacked(evil)
    assert not list(tmp_path.glob("escaped.png")) + list(cache.glob("escaped.png"))
    (tmp_path / "cut.zip").write_bytes(evil.read_bytes()[:60])
    with pytest.raises(UserError, match=r"cut.zip cannot be unpacked into .*; unpack it by hand"):
        unpacked(tmp_path / "cut.zip")
    assert len(list(inside.iterdir())) == 1


def test_predictions_are_wanted_for_a_zip_too(tmp_path: Path):
    path = archive(tmp_path / "holiday.zip", {"a.png": picture(1), "beach/b.png": picture(2)})
    source = PredictionSource((str(path),), own_labels=("joy", "fear"))
    assert sorted(sample.id for sample in source.samples(source.checked().splits)) == ["a.png", "beach/b.png"]
