"""Pictures are checked before they are decoded, keep nothing but pixels, and are forgotten."""

from __future__ import annotations

import base64
import time
from io import BytesIO

import pytest
from PIL import Image

from emocaliber.chat.pictures import LONGEST_NAME, MOST_BYTES, Waiting, read_picture, shown_name
from emocaliber.core.images import ImageError
from emocaliber.core.resolution import SHOWN_PIXELS
from tests.chat.conftest import bomb, noisy_jpeg, png


def test_exif_is_dropped_and_orientation_kept():
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8825] = 6, "at home", {1: "N"}
    Image.new("RGB", (40, 20), "red").save(buffer, "JPEG", exif=exif)
    picture = read_picture(buffer.getvalue(), "photo.jpg")
    assert picture.image.size == (20, 40)
    assert not picture.image.getexif()
    assert not picture.image.info
    assert b"at home" not in base64.b64decode(picture.thumbnail.partition(",")[2])


def test_a_large_picture_is_made_as_small_as_models_are_shown_it():
    picture = read_picture(png(4000, 1000), "wide.png")
    assert picture.image.width * picture.image.height <= SHOWN_PIXELS
    assert len(picture.thumbnail) < 20_000


def test_a_small_picture_keeps_its_pixels():
    encoded = noisy_jpeg(60, 40)
    with Image.open(BytesIO(encoded)) as opened:
        assert read_picture(encoded, "x").image.tobytes() == opened.tobytes()


@pytest.mark.parametrize(
    "encoded",
    [b"", b"GIF89a", b"<svg/>", b"%PDF-1.7", bomb(), b"\x89PNG\r\n\x1a\n", bytes(MOST_BYTES + 1)],
)
def test_what_cannot_be_used_is_one_sentence(encoded: bytes):
    with pytest.raises(ImageError, match=r"x\.png"):
        read_picture(encoded, "x.png")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("../../etc/passwd", "passwd"), ("C:\\x\\y.png", "y.png"), ("\x1b[2J", "[2J"), ("", "picture"), ("a/", "picture")],
)
def test_a_name_is_its_last_part_and_printable(name: str, shown: str):
    assert shown_name(name) == shown
    assert len(shown_name("x" * 1000)) == LONGEST_NAME


def test_a_picture_is_taken_once_by_a_name_nobody_can_guess():
    waiting, picture = Waiting(), read_picture(png(8, 8), "p.png")
    token = waiting.add(picture)
    assert len(token) >= 32
    assert waiting.take("p.png") is None
    assert waiting.take(token) is picture
    assert waiting.take(token) is None


def test_what_nobody_takes_is_forgotten_by_time_and_by_number():
    picture = read_picture(png(8, 8), "p.png")
    short = Waiting(seconds=0.01)
    token = short.add(picture)
    time.sleep(0.02)
    assert short.take(token) is None
    few = Waiting(most=2)
    tokens = [few.add(picture) for _ in range(3)]
    assert few.take(tokens[0]) is None
    assert len(few) == 2
