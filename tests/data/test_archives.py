"""A data set's zip is read as the folder that it holds."""

from __future__ import annotations

import io
import json
import tarfile
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


def tar(path: Path, files: dict[str, bytes], mode: str = "w", **links: tuple[str, bytes]) -> Path:
    """An archive of files, and of links by name, each with its target and its kind."""
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        for name, (target, kind) in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            file.addfile(member)
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


@pytest.mark.parametrize(
    ("name", "mode"),
    [("f.tar", "w"), ("f.tar.gz", "w:gz"), ("f.TGZ", "w:gz"), ("f.tar.bz2", "w:bz2"), ("f.txz", "w:xz")],
)
def test_a_tar_is_read_like_a_zip(tmp_path: Path, name: str, mode: str):
    files = {f"./faces/{name}": content for name, content in FACES.items()} | {"./._faces": b"x"}
    assert labels(tar(tmp_path / name, files, mode)) == [(name, name.split("/")[1]) for name in sorted(FACES)]


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"../../escaped.png": picture(1)}, {}),
        ({}, {"out": ("/etc/passwd", tarfile.SYMTYPE)}),
        ({}, {"out": ("../../../secret", tarfile.LNKTYPE)}),
        ({}, {"pipe": ("", tarfile.FIFOTYPE)}),
    ],
)
def test_nothing_of_a_tar_is_written_or_linked_outside(
    tmp_path: Path, cache: Path, files: dict[str, bytes], links: dict[str, tuple[str, bytes]]
):
    (tmp_path / "secret").write_bytes(b"secret")
    path = tar(tmp_path / "evil.tar", FACES | files, **links)
    with pytest.raises(UserError, match=r"evil.tar.*unpack it by hand"):
        unpacked(path)
    assert not list(tmp_path.rglob("escaped.png")) + list((cache / "unpacked").iterdir())


def test_a_tar_that_ends_early_is_refused(tmp_path: Path):
    whole = tar(tmp_path / "whole.tar.gz", FACES, "w:gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut.tar.gz cannot be unpacked"):
        unpacked(tmp_path / "cut.tar.gz")


def test_a_webdataset_has_its_labels_beside_its_pictures(tmp_path: Path):
    named = {f"{n:06d}.png": picture(n) for n in range(4)}
    classes = {f"{n:06d}.cls": str(n % 2).encode() for n in range(4)}
    numbered = tar(tmp_path / "train-0000.tar", named | classes)
    rows = [row.sample for row in Source(str(numbered), labels="joy,fear").rows() if isinstance(row, Row)]
    assert [(row.id, row.label) for row in rows] == [(f"{n:06d}.png", ("joy", "fear")[n % 2]) for n in range(4)]
    values = {f"{n:06d}.json": json.dumps({"label": ("Joy", "fear")[n % 2], "split": "val"}).encode() for n in range(4)}
    (row, *_) = (
        row.sample for row in Source(str(tar(tmp_path / "a.tar", named | values))).rows() if isinstance(row, Row)
    )
    assert (row.label, row.split, row.candidates) == ("Joy", "calibrate", ("Joy", "fear"))
    problem = next(iter(Source(str(numbered)).rows()))
    assert "class number" in str(problem)


def test_one_table_beside_its_pictures_is_what_an_archive_means(tmp_path: Path):
    table = b"image,label\nimages/0.png,joy\nimages/1.png,fear\n"
    path = tar(tmp_path / "t.tar", {"x/labels.csv": table, "x/images/0.png": picture(0), "x/images/1.png": picture(1)})
    assert labels(path) == [("labels/1", "joy"), ("labels/2", "fear")]


def test_predictions_are_wanted_for_a_zip_too(tmp_path: Path):
    path = archive(tmp_path / "holiday.zip", {"a.png": picture(1), "beach/b.png": picture(2)})
    source = PredictionSource((str(path),), own_labels=("joy", "fear"))
    assert sorted(sample.id for sample in source.samples(source.checked().splits)) == ["a.png", "beach/b.png"]
