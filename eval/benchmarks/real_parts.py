"""The pictures of a rated set, cut into what each step of recipes/real learns from or is judged by.

No picture is in two parts, nor is a corrupted copy beside its original:

| file | split | rows |
|---|---|---|
| taught.parquet | train | for warming and stage 1: two thirds as they are, of the others a corrupted copy |
| | calibrate | the calibration part, which warming looks at and learns nothing from |
| asked.parquet | unlabelled | --kept of the train part for stage 2, without label or votes; a third as copies |
| | calibrate | what the teacher's map is fitted on: 3/20 of the calibration part, and copies of another 3/40 |
| calibrate.parquet | calibrate | stage 3's: 3/10 of the calibration part, and copies of another 3/40 |
| fresh.parquet | calibrate | 3/20 of the calibration part, to fit maps for comparison on |
| test.parquet | test | the first --test faces of the test part; group: their kind of picture |
| shifted.parquet | test | --shifted of them, corrupted at level .3 in each way that is taught and in two that are not |

    python -m eval.benchmarks.real_parts out/ferplus.parquet --kept 5000 --test 1000 --shifted 200 --out out/parts
"""

from __future__ import annotations

import argparse
import io
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from emocaliber.core.images import load_image
from emocaliber.core.samples import Sample
from emocaliber.data.convert import write_parquet
from emocaliber.data.corruption import IMAGE_CORRUPTIONS, copies_of, corrupted_sample
from emocaliber.data.parquet import read_samples
from emocaliber.data.rows import Place, Row

CORRUPTED = 1 / 3
LEVEL = 0.3
MAP, MAP_COPIES, STAGE_3, STAGE_3_COPIES, FRESH = 0.15, 0.075, 0.3, 0.075, 0.15
"""Shares of the calibration part."""
PIXELS, BARS = 14, 4


def pixelated(image: Image.Image, chance: np.random.Generator) -> Image.Image:
    """PIXELS squares along the shorter side, each of one colour."""
    scale = PIXELS / min(image.size)
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.NEAREST)


def barred(image: Image.Image, chance: np.random.Generator) -> Image.Image:
    """A share LEVEL of the height under BARS black bars."""
    pixels = np.array(image)
    thick = max(1, round(len(pixels) * LEVEL / BARS))
    for part in np.array_split(np.arange(len(pixels)), BARS):
        top = int(chance.integers(part[0], max(part[0] + 1, part[-1] + 2 - thick)))
        pixels[top : top + thick] = 0
    return Image.fromarray(pixels)


UNTAUGHT: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "pixelated": pixelated,
    "barred": barred,
}


def shifted(samples: Sequence[Sample]) -> list[Sample]:
    """Every sample in each corruption that is taught and that is not."""
    result = []
    for sample in samples:
        for kind in IMAGE_CORRUPTIONS:
            result.append(replace(corrupted_sample(sample, kind, LEVEL), id=f"{sample.id}~{kind}", group=kind))
        for name, corrupt in UNTAUGHT.items():
            file = io.BytesIO()
            chance = np.random.default_rng(zlib.crc32(sample.id.encode()))
            corrupt(load_image(sample.image), chance).save(file, "PNG")
            result.append(replace(sample, image=file.getvalue(), id=f"{sample.id}~{name}", group=name))
    return result


def copies(samples: Sequence[Sample]) -> list[Sample]:
    """A corrupted copy of each."""
    return [row.sample for row in copies_of(_rows(samples))]


def _rows(samples: Iterable[Sample]) -> list[Row]:
    return [Row(Place(sample.id), sample) for sample in samples]


def mixed(samples: Sequence[Sample], order: npt.NDArray[np.int64]) -> list[Sample]:
    """The samples in this order; of a share CORRUPTED a copy in the original's place."""
    count = round(len(order) * CORRUPTED)
    rows = copies([samples[n] for n in order[:count]]) + [samples[n] for n in order[count:]]
    return [rows[n] for n in np.random.default_rng(1).permutation(len(rows))]


def parts_of(samples: Sequence[Sample], kept: int, test: int, corrupted: int) -> dict[str, list[Sample]]:
    """The rows of each file by its name."""
    by_split = {split: [s for s in samples if s.split == split] for split in ("train", "calibrate", "test")}
    chance = np.random.default_rng(0)
    train, validation = (by_split[split] for split in ("train", "calibrate"))
    order = chance.permutation(len(train))
    shares = np.cumsum([MAP, MAP_COPIES, STAGE_3, STAGE_3_COPIES, FRESH]) * len(validation)
    cut = np.split(chance.permutation(len(validation)), shares.round().astype(int))
    fitted, fitted_copies, learned, learned_copies, fresh = ([validation[n] for n in part] for part in cut[:5])
    unlabelled = [
        replace(sample, label=None, votes=None, ratings=None, second_votes=None, split="unlabelled")
        for sample in mixed(train, order[:kept])
    ]
    judged = by_split["test"][:test]
    return {
        "taught": mixed(train, order[kept:]) + validation,
        "asked": unlabelled + fitted + copies(fitted_copies),
        "calibrate": learned + copies(learned_copies),
        "fresh": fresh,
        "test": judged,
        "shifted": shifted(judged[:corrupted]),
    }


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="Parquet file with votes and the splits train, calibrate and test")
    parser.add_argument("--kept", type=int, default=5000, help="pictures of the train part for stage 2 (default: 5000)")
    parser.add_argument("--test", type=int, default=1000, help="pictures to judge by (default: 1000)")
    parser.add_argument("--shifted", type=int, default=200, help="of these, to corrupt in every way (default: 200)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    parts = parts_of(read_samples(chosen.data), chosen.kept, chosen.test, chosen.shifted)
    for name, samples in parts.items():
        print(name, write_parquet(_rows(samples), chosen.out / f"{name}.parquet"), flush=True)


if __name__ == "__main__":
    main()
