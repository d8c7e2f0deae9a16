"""Cut a rated data set into the parts that the steps of recipes/real train on or are evaluated on.

No image is in two parts, and no corrupted copy is in the same part as its original:

| file | split | rows |
|---|---|---|
| taught.parquet | train | for warming and stage 1: two thirds unchanged, a corrupted copy of each of the others |
| | calibrate | the calibration part, which warming evaluates on and does not train on |
| asked.parquet | unlabelled | --kept of the train part for stage 2, without label or votes; a third are copies |
| | calibrate | to fit the teacher's map on: 3/20 of the calibration part, and corrupted copies of another 3/40 |
| calibrate.parquet | calibrate | for stage 3: 3/10 of the calibration part, and corrupted copies of another 3/40 |
| fresh.parquet | calibrate | 3/20 of the calibration part, to fit maps for comparison on |
| test.parquet | test | the first --test faces of the test part; group: their kind of image |
| shifted.parquet | test | --shifted of them, corrupted at level .3 in each way used in training and in two others |

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


def pixelate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image as squares of one colour, PIXELS of them along the shorter side."""
    scale = PIXELS / min(image.size)
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.NEAREST)


def add_bars(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image with BARS black bars, which cover a share LEVEL of its height."""
    pixels = np.array(image)
    thickness = max(1, round(len(pixels) * LEVEL / BARS))
    for strip in np.array_split(np.arange(len(pixels)), BARS):
        top = int(rng.integers(strip[0], max(strip[0] + 1, strip[-1] + 2 - thickness)))
        pixels[top : top + thickness] = 0
    return Image.fromarray(pixels)


UNSEEN_CORRUPTIONS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "pixelated": pixelate,
    "barred": add_bars,
}


def corrupt_every_way(samples: Sequence[Sample]) -> list[Sample]:
    """Every sample in each corruption, those used in training and UNSEEN_CORRUPTIONS."""
    result = []
    for sample in samples:
        for kind in IMAGE_CORRUPTIONS:
            result.append(replace(corrupted_sample(sample, kind, LEVEL), id=f"{sample.id}~{kind}", group=kind))
        for name, corrupt in UNSEEN_CORRUPTIONS.items():
            file = io.BytesIO()
            rng = np.random.default_rng(zlib.crc32(sample.id.encode()))
            corrupt(load_image(sample.image), rng).save(file, "PNG")
            result.append(replace(sample, image=file.getvalue(), id=f"{sample.id}~{name}", group=name))
    return result


def corrupt_copies(samples: Sequence[Sample]) -> list[Sample]:
    """A corrupted copy of each sample."""
    return [row.sample for row in copies_of(_rows(samples))]


def _rows(samples: Iterable[Sample]) -> list[Row]:
    return [Row(Place(sample.id), sample) for sample in samples]


def mix_in_corrupt_copies(samples: Sequence[Sample], order: npt.NDArray[np.int64]) -> list[Sample]:
    """The samples at these positions, shuffled; a share CORRUPTED of them is replaced by corrupted copies."""
    count = round(len(order) * CORRUPTED)
    rows = corrupt_copies([samples[n] for n in order[:count]]) + [samples[n] for n in order[count:]]
    return [rows[n] for n in np.random.default_rng(1).permutation(len(rows))]


def cut_parts(samples: Sequence[Sample], kept: int, test: int, corrupted: int) -> dict[str, list[Sample]]:
    """The samples of each file, by the file's name."""
    by_split = {split: [s for s in samples if s.split == split] for split in ("train", "calibrate", "test")}
    rng = np.random.default_rng(0)
    train, validation = (by_split[split] for split in ("train", "calibrate"))
    order = rng.permutation(len(train))
    shares = np.cumsum([MAP, MAP_COPIES, STAGE_3, STAGE_3_COPIES, FRESH]) * len(validation)
    parts = np.split(rng.permutation(len(validation)), shares.round().astype(int))
    map_rows, map_copies, stage_3_rows, stage_3_copies, fresh = ([validation[n] for n in part] for part in parts[:5])
    unlabelled = [
        replace(sample, label=None, votes=None, ratings=None, second_votes=None, split="unlabelled")
        for sample in mix_in_corrupt_copies(train, order[:kept])
    ]
    test_rows = by_split["test"][:test]
    return {
        "taught": mix_in_corrupt_copies(train, order[kept:]) + validation,
        "asked": unlabelled + map_rows + corrupt_copies(map_copies),
        "calibrate": stage_3_rows + corrupt_copies(stage_3_copies),
        "fresh": fresh,
        "test": test_rows,
        "shifted": corrupt_every_way(test_rows[:corrupted]),
    }


def main() -> None:
    """Write the files of the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="Parquet file with votes and the splits train, calibrate and test")
    parser.add_argument("--kept", type=int, default=5000, help="images of the train part for stage 2 (default: 5000)")
    parser.add_argument("--test", type=int, default=1000, help="images to evaluate on (default: 1000)")
    parser.add_argument(
        "--shifted", type=int, default=200, help="images of these to corrupt in every way (default: 200)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write the files into")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts = cut_parts(read_samples(arguments.data), arguments.kept, arguments.test, arguments.shifted)
    for name, samples in parts.items():
        print(name, write_parquet(_rows(samples), arguments.out / f"{name}.parquet"), flush=True)


if __name__ == "__main__":
    main()
