"""Draw rows of a Parquet file of samples on one labelled sheet, to be looked at: are the pictures and labels as meant?

Not part of any run. Rows are drawn at random with a fixed seed, and laid out by label.

    python scripts/contact_sheet.py emocaliber/data/emoji-sentiment.parquet sheet.png --split train --count 120
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from emocaliber.datasets.parquet import read_samples
from emocaliber.images import load_image
from emocaliber.samples import Sample

SHEET_WIDTH = 1500
MARGIN = 6
CAPTION_HEIGHT = 24
SMALLEST_CELL = 110
FONT_SIZE = 10


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="Parquet file of samples")
    parser.add_argument("sheet", type=Path, help="PNG file to write")
    parser.add_argument("--split", help="rows of this split only")
    parser.add_argument("--group", help="rows of this group only")
    parser.add_argument("--label", help="rows with this label only")
    parser.add_argument("--count", type=int, default=120, help="how many rows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which rows (default: %(default)s)")
    arguments = parser.parse_args()
    samples = [
        sample
        for sample in read_samples(arguments.file, arguments.split)
        if arguments.group in (None, sample.group) and arguments.label in (None, sample.label)
    ]
    chosen = random.Random(arguments.seed).sample(samples, min(arguments.count, len(samples)))
    sheet(sorted(chosen, key=lambda sample: (sample.label or "", sample.id))).save(arguments.sheet)
    print(f"{arguments.sheet}: {len(chosen)} of {len(samples)} rows")


def sheet(samples: Iterable[Sample]) -> Image.Image:
    """All samples in rows from the left, each above its caption."""
    cells = [cell(sample) for sample in samples]
    width = max((one.width for one in cells), default=SMALLEST_CELL) + MARGIN
    height = max((one.height for one in cells), default=SMALLEST_CELL) + MARGIN
    columns = max(1, SHEET_WIDTH // width)
    page = Image.new("RGB", (columns * width, max(1, -(-len(cells) // columns)) * height), "white")
    for number, one in enumerate(cells):
        page.paste(one, (number % columns * width, number // columns * height))
    return page


def cell(sample: Sample) -> Image.Image:
    """A picture in a thin frame; below it the label, the votes and the id."""
    picture = load_image(sample.image)
    frame = Image.new("RGB", (max(picture.width + 2, SMALLEST_CELL), picture.height + 2 + CAPTION_HEIGHT), "white")
    frame.paste("lightgrey", (0, 0, picture.width + 2, picture.height + 2))
    frame.paste(picture, (1, 1))
    votes = " " + "/".join(str(count) for count in sample.votes.values()) if sample.votes else ""
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(FONT_SIZE)
    draw.text((1, picture.height + 2), (sample.label or "no label") + votes, fill="black", font=font)
    draw.text((1, picture.height + 13), sample.id.removeprefix(f"{sample.task}-"), fill="dimgrey", font=font)
    return frame


if __name__ == "__main__":
    main()
