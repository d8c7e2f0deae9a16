"""Draw a folder of faces by class, to have pictures without anybody's: FOLDER/CLASS/NUMBER.png.

python draw.py drawings 60      # 60 of each class; some are hard, as pictures are
"""

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

MOUTHS = {"joy": 1.0, "neutral": 0.0, "sadness": -1.0}


def face(mouth: float, chance: random.Random) -> Image.Image:
    """A face of 64 x 64 pixels; `mouth` is its bend, 1 for a smile, and chance moves everything a little."""
    picture = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(picture)
    x, y = chance.randint(-4, 4), chance.randint(-4, 4)
    draw.ellipse((10 + x, 10 + y, 54 + x, 54 + y), outline="black", width=chance.choice([1, 2, 3]))
    for eye in (24, 40):
        draw.ellipse((eye - 2 + x, 24 + y, eye + 2 + x, 29 + y), fill="black")
    bend = 7 * mouth + chance.gauss(0, 2.2)
    line = [(32 + step + x, 43 + y + bend * (0.5 - (step / 10) ** 2)) for step in range(-10, 11)]
    draw.line(line, fill="black", width=2)
    return picture


def main(folder: Path, each: int) -> None:
    """Write the folder."""
    chance = random.Random(0)
    for label, mouth in MOUTHS.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            face(mouth, chance).save(folder / label / f"{number:03}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
