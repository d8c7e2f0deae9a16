"""Promise: a string that names a file is not permission to read it. Images are read under the data's root alone, never
from an address, and their size and format are checked before a pixel is decoded; a model's words name no file."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import pytest

from emocaliber.core.images import ImageError, load_image, read_image_bytes
from emocaliber.core.samples import FileImage
from emocaliber.data.embedded import load
from emocaliber.reading import read_response

SAMPLE = load("kaomoji", "test")[0]
PICTURE = read_image_bytes(SAMPLE.image)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a picture, a picture beside it, and links that lead out."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "face.png").write_bytes(PICTURE)
    (tmp_path / "secret.png").write_bytes(PICTURE)
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "secret.png").write_bytes(PICTURE)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "folder").symlink_to(tmp_path)
    return folder


def test_a_file_under_the_root_is_read(root: Path):
    assert read_image_bytes(FileImage(root, "face.png")) == PICTURE


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "sub/../../secret.png",
        "link.png",
        "folder/secret.png",
        "../root-2/secret.png",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1/face.png",
        "https://example.org/face.png",
        "data:image/png;base64,AAAA",
        "C:\\face.png",
        "\\\\host\\face.png",
        "/dev/zero",
        "sub",
        "",
        "face.png\x00.txt",
    ],
)
def test_no_name_leads_out_of_the_root_or_to_the_network(root: Path, name: str):
    absolute = str(root.parent / "secret.png") if name == "/etc/passwd" else name
    for written in {name, absolute}:
        with pytest.raises(ImageError):
            read_image_bytes(FileImage(root, written))


def _header_of(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    "content", [_header_of(60_000, 60_000), _header_of(1, 1), b"GIF89a" + b"\0" * 40, b"%PDF-1.7", b"<svg/>", b""]
)
def test_size_and_format_are_judged_by_the_header(content: bytes):
    with pytest.raises(ImageError):
        load_image(content)


def test_a_response_that_names_files_opens_none(root: Path):
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in {"open", "socket.connect", "os.listdir"}:
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    for text in (f"<answer>{root / 'face.png'}</answer>", "file:///etc/passwd", "![x](http://127.0.0.1/face.png)"):
        read_response(text, SAMPLE.candidates)
    watching = False
    assert opened == []
