"""Images: decoded alike whatever their encoding, refused with one sentence where they cannot be trusted."""

import base64
import struct
import zlib
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.core.images import ImageError, check_image, image_hash, load_image
from emocaliber.core.samples import FileImage

GRADIENT = Image.fromarray(np.linspace(0, 255, 32 * 24 * 3).reshape(24, 32, 3).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\xff\xffIDAT"
    )


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_encodings_give_the_same_pixels(kind: str, options: dict[str, object]) -> None:
    assert np.array_equal(np.asarray(load_image(encoded(GRADIENT, kind, **options))), np.asarray(GRADIENT))


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    pixels = np.asarray(load_image(encoded(Image.fromarray(ramp))))
    assert np.abs(pixels[..., 0].astype(int) - ramp // 257).max() <= 1
    assert pixels.shape == (8, 8, 3)


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert set(np.unique(np.asarray(load_image(encoded(clear))))) == {255}


def test_palette_transparency_lies_on_white() -> None:
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0] * 256)
    assert set(np.unique(np.asarray(load_image(encoded(palette, transparency=0))))) == {255}


def test_cmyk_becomes_rgb() -> None:
    red = load_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert red.mode == "RGB"
    assert np.allclose(np.asarray(red).mean(axis=(0, 1)), (255, 0, 0), atol=6)


def test_orientation_in_the_metadata_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(encoded(GRADIENT, "JPEG", exif=exif)).size == (24, 32)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not a PNG, JPEG, WEBP image$"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "not a PNG, JPEG, WEBP image; it is an HEIC .* save it as JPEG"),
        (encoded(GRADIENT)[:-40], "cannot be decoded"),
        (encoded(GRADIENT, "JPEG")[:-60], "cannot be decoded"),
        (png_header(20, 20), "cannot be decoded"),
        (png_header(50_000, 50_000), "50000|bomb"),
        (png_header(7_000, 7_000), "more than the 40,000,000"),
        (encoded(Image.new("RGB", (1, 1))), "at least 4"),
        (encoded(Image.new("RGB", (2_000, 4))), "this elongated"),
        (encoded(GRADIENT, "GIF"), "not a PNG, JPEG, WEBP"),
        (encoded(GRADIENT, "PNG", save_all=True, append_images=[Image.new("RGB", (32, 24))]), "animation"),
        (encoded(GRADIENT, "WEBP", save_all=True, append_images=[Image.new("RGB", (32, 24))]), "animation"),
    ],
)
def test_a_broken_image_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        load_image(data)


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(encoded(GRADIENT, "JPEG"))
    assert load_image(FileImage(tmp_path, "face.png")).size == (32, 24)


def test_only_files_under_the_root_are_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (tmp_path / "data-private").mkdir()
    (root / "sub").mkdir(parents=True)
    outside = tmp_path / "data-private" / "face.png"
    outside.write_bytes(encoded(GRADIENT))
    (root / "link.png").symlink_to(outside)
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "inner.png").write_bytes(encoded(GRADIENT))
    (root / "inner-link.png").symlink_to(root / "inner.png")
    assert load_image(FileImage(root, "inner-link.png")).size == (32, 24)
    for name in ("link.png", "../data-private/face.png", str(outside)):
        with pytest.raises(ImageError, match="outside the data root"):
            load_image(FileImage(root, name))
    for name in (
        "missing.png",
        "sub",
        "loop.png",
        "bad\0name.png",
        "https://example.org/face.png",
        "file:///etc/passwd",
    ):
        with pytest.raises(ImageError):
            load_image(FileImage(root, name))


def test_the_hash_is_of_the_bytes() -> None:
    assert image_hash(b"a") == image_hash(b"a") != image_hash(b"b")


def phone_photo(**options: object) -> bytes:
    """A JPEG with a second picture inside, as cameras and phones write it."""
    return encoded(GRADIENT, "MPO", save_all=True, append_images=[GRADIENT.resize((8, 6)).convert("RGB")], **options)


@pytest.mark.parametrize("cut", [None, -40])
def test_of_a_photograph_with_a_second_picture_inside_the_first_is_taken(cut: int | None):
    photo = phone_photo()
    assert load_image(photo[:cut]).size == GRADIENT.size
    assert check_image(photo[:cut]) == ("JPEG", *GRADIENT.size)


def test_a_photograph_with_a_second_picture_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(phone_photo(exif=exif)).size == GRADIENT.size[::-1]


def test_transparency_of_16_bit_grey_lies_on_white():
    ramp = Image.fromarray(np.array([[0, 0], [30000, 65535]] * 4, np.uint16).repeat(4, 1))
    pixels = np.asarray(load_image(encoded(ramp, transparency=0)))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 0].tolist() == [116, 116, 116]


def test_metadata_that_is_too_large_is_named():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "x" * 3_000_000, zip=True)
    with pytest.raises(ImageError, match="save it without metadata"):
        load_image(encoded(GRADIENT, pnginfo=info))


HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAAFEAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    "AAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xy"
    "bmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAFlt"
    "ZGF0AAAATSgBrxOARoW3WMUeaiyWQuLSl8ggqzEkQZ5SEG0hA/eYqhF3sjfRQQtiBdeDuykwP1RAHC7yJYAbBFRp553YZksFjfGz"
    "YZL+2hXgzWlT"
)
"""64 x 64 pixels, white in the corners and black in the middle, as pillow-heif writes them."""


def test_a_heic_image_is_decoded_if_its_decoder_is_installed_and_else_the_error_says_what_to_install():
    if find_spec("pillow_heif") is None:
        with pytest.raises(ImageError, match=r"save it as JPEG, or for HEIC run pip install 'emocaliber\[heic\]'"):
            load_image(HEIC)
        return
    picture = load_image(HEIC)
    assert (picture.mode, picture.size) == ("RGB", (64, 64))
    assert picture.getpixel((0, 0))[0] > picture.getpixel((32, 32))[0] + 150
