"""A contact sheet: pictures in rows, each above its caption, to be looked at.

python scripts/contact_sheet.py emocaliber/data/emoji-sentiment.parquet sheet.png
"""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

from emocaliber.core.images import ImageError, load_image
from emocaliber.core.samples import ImageSource, Sample

SHEET_WIDTH = 1500
MARGIN = 6
LINE = 11
CELL = 110
LARGEST = 280
FONT_SIZE = 10

Caption = tuple[str, ...]


def sheet(pictures: Iterable[tuple[ImageSource, Caption]], columns: int | None = None) -> Image.Image:
    """All pictures from the left, `columns` in a row (None: as many as fit)."""
    cells = [_cell(image, caption) for image, caption in pictures]
    width = max((cell.width for cell in cells), default=CELL) + MARGIN
    height = max((cell.height for cell in cells), default=CELL) + MARGIN
    columns = columns or max(1, SHEET_WIDTH // width)
    page = Image.new("RGB", (columns * width, max(1, -(-len(cells) // columns)) * height), "white")
    for number, cell in enumerate(cells):
        page.paste(cell, (number % columns * width, number // columns * height))
    return page


def described(sample: Sample) -> Caption:
    """A sample's label and votes, and its id."""
    votes = " " + "/".join(str(count) for count in sample.votes.values()) if sample.votes else ""
    return (sample.label or "no label") + votes, sample.id.removeprefix(f"{sample.task}-")


def _cell(image: ImageSource, caption: Caption) -> Image.Image:
    """A picture in a thin frame, its caption below; one that cannot be read is a crossed box."""
    picture = _picture(image)
    frame = Image.new("RGB", (max(picture.width + 2, CELL), picture.height + 4 + LINE * len(caption)), "white")
    frame.paste("lightgrey", (0, 0, picture.width + 2, picture.height + 2))
    frame.paste(picture, (1, 1))
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(FONT_SIZE)
    for number, line in enumerate(caption):
        draw.text((1, picture.height + 2 + LINE * number), line, fill="dimgrey" if number else "black", font=font)
    return frame


def _picture(image: ImageSource) -> Image.Image:
    try:
        picture = load_image(image)
    except ImageError:
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).line((0, 0, 63, 63), fill="red")
    picture.thumbnail((LARGEST, LARGEST))
    return picture
