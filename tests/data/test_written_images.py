"""Images as tables hold them: base64 with and without an address, grey levels, names of other machines."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from emocaliber.core.images import ImageError, load_image
from emocaliber.core.samples import FileImage
from emocaliber.data.written_images import base64_in, file_name, from_base64, from_pixels
from tests.data import layout_files as files

PICTURE = files.picture(3)
PLAIN = base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize(
    "text",
    [PLAIN, base64.encodebytes(PICTURE).decode(), f"data:image/png;base64,{PLAIN}", f"data:image/png;base64,{PLAIN}\n",
     "data:image/png;base64," + base64.urlsafe_b64encode(PICTURE).decode().rstrip("=")],
)  # fmt: skip
def test_base64_is_read_in_each_form(tmp_path: Path, text: str):
    assert from_base64(base64_in(text) or "") == PICTURE
    (sample,) = files.read(files.lines(tmp_path / "t.jsonl", [{"image": text, "label": "joy"}]), labels="joy,fear")
    assert sample.image == PICTURE


def test_a_name_is_no_base64():
    assert base64_in("iVBORw0KGgo.png") is None
    assert from_base64("@@@") is None


@pytest.mark.parametrize(
    "levels", ["1 2 3 4", "1.0 2.0 3. 4", "[1, 2, 3, 4]", [1, 2, 3, 4], [[1, 2], [3, 4]], (1, 2, 3, 4)]
)
def test_grey_levels_are_text_or_lists(levels: object):
    drawn = from_pixels(levels)
    assert isinstance(drawn, bytes)
    assert drawn == from_pixels("1 2 3 4")


@pytest.mark.parametrize(
    ("levels", "words"),
    [("1 2 3", "3 values"), ("1 2 3 256", "'256' is no grey level"), (".5 .2 .1 1", "'.5' is no"),
     ("1 2 3 x", "'x' is no"), ("", "0 values")],
)  # fmt: skip
def test_what_is_no_picture_is_said(levels: str, words: str):
    assert words in str(from_pixels(levels))


def test_a_name_as_an_address_of_a_file_is_that_file_and_lies_under_the_root(tmp_path: Path):
    files.put(tmp_path / "my face.png", 1)
    assert file_name(tmp_path, "my%20face.png") == "my face.png"
    assert file_name(tmp_path, f"file://{tmp_path}/my face.png") == f"{tmp_path}/my face.png"
    (sample,) = files.read(files.table(tmp_path / "t.csv", ["image", "label"], ["my%20face.png", "joy"]))
    assert load_image(sample.image).size == (16, 16)


def test_a_name_that_lies_in_one_more_folder_is_found_for_the_message(tmp_path: Path):
    files.put(tmp_path / "images" / "0.png", 1)
    with pytest.raises(ImageError, match=r"did you mean images/0\.png, with --root .*images\?"):
        load_image(FileImage(tmp_path, "0.png"))
