"""Store the vision tower's features of FER+, Emotion6 and drawings (the tower of recipes/real's base) for sets.py and
reasons.py, because extracting them takes minutes and everything afterwards seconds.

Each set of images has a file: ids, labels, votes, the class token beside a 2 x 2 grid of the last layer's patches
(`probe`, five times the tower's width), the mean patch (`tokens`), and the mean patch of layers in between (`layers`).

    python -m eval.benchmarks.photo_features --base out/photo-base --fer out/ferplus.parquet --emotion6 emotion6.zip \\
        --out out/photo-features
"""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from emocaliber.core.files import write_atomically
from emocaliber.core.images import load_image
from emocaliber.core.samples import Sample
from emocaliber.data.corruption import IMAGE_CORRUPTIONS, corrupted_sample
from emocaliber.data.embedded import load
from emocaliber.data.parquet import read_samples

BATCH = 32
LAYERS = (3, 6, 9)
FACES = {"train": 3000, "calibrate": 1500, "test": 1500}
CORRUPTED = 400
"""Test faces of which every corruption is looked at, at each of LEVELS."""
LEVELS = (0.2, 0.4, 0.6)
SEED = 0


class Tower:
    """The vision tower alone."""

    def __init__(self, base: Path) -> None:
        model: Any = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
        self.tower = model.eval().model.vision_tower
        self.pictures: Any = AutoProcessor.from_pretrained(base).image_processor  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def look(self, images: Sequence[Image.Image]) -> dict[str, npt.NDArray[np.float32]]:
        """Features `probe` [n, 5 h], `tokens` [n, h] and `layers` [n, 3, h] of n pictures."""
        pixels = self.pictures(list(images), crop_to_patches=False, return_tensors="pt")["pixel_values"]
        seen = self.tower(pixels, output_hidden_states=True)
        last = seen.last_hidden_state
        side = round((last.shape[1] - 1) ** 0.5)
        grid = last[:, 1:].unflatten(1, (2, side // 2, 2, side // 2)).mean((2, 4)).flatten(1)
        between = torch.stack([seen.hidden_states[layer][:, 1:].mean(1) for layer in LAYERS], 1)
        parts = {"probe": torch.cat([last[:, 0], grid], 1), "tokens": last[:, 1:].mean(1), "layers": between}
        return {name: value.numpy() for name, value in parts.items()}


def looked_at(tower: Tower, samples: Sequence[Sample], out: Path) -> None:
    """Write the features of these samples, unless the file exists."""
    if out.exists():
        return
    parts: list[dict[str, npt.NDArray[np.float32]]] = []
    for start in range(0, len(samples), BATCH):
        parts.append(tower.look([load_image(sample.image) for sample in samples[start : start + BATCH]]))
        print(f"\r{out.name}: {min(len(samples), start + BATCH):,} of {len(samples):,}", end="", flush=True)
    print()
    labels = samples[0].candidates
    votes = [[(sample.votes or {}).get(label, 0) for label in labels] for sample in samples]
    content = io.BytesIO()
    np.savez(
        content,
        ids=np.array([sample.id for sample in samples]),
        label=np.array([sample.label or "" for sample in samples]),
        labels=np.array(labels),
        split=np.array([sample.split for sample in samples]),
        votes=np.array(votes),
        allow_pickle=False,
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    )
    write_atomically(out, [content.getvalue()])


def some(samples: Sequence[Sample], number: int) -> list[Sample]:
    """A random subset of so many samples, drawn with SEED, in their order; all if there are fewer."""
    chosen = np.random.default_rng(SEED).permutation(len(samples))[:number]
    return [samples[row] for row in sorted(chosen.tolist())]


def emotion6(path: Path) -> list[Sample]:
    """The photographs from the zip's table, with their shares as 30 votes; without a label if two labels tie."""
    with zipfile.ZipFile(path) as archive:
        table = io.TextIOWrapper(archive.open("emotion6.csv"), encoding="utf-8")
        return [_photograph(row, archive.read(row["image"])) for row in csv.DictReader(table)]


def _photograph(row: dict[str, str], image: bytes) -> Sample:
    votes = {name.removeprefix("votes."): int(count) for name, count in row.items() if name.startswith("votes.")}
    leading = [label for label, count in votes.items() if count == max(votes.values())]
    label = leading[0] if len(leading) == 1 else None
    return Sample(row["image"], image, "Emotion6", tuple(votes), label, row["split"], "", row["image"], votes=votes)


def main() -> None:
    """Compute all missing features."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("base", "fer", "emotion6", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tower = Tower(arguments.base)
    faces = read_samples(arguments.fer)
    by_split = {split: [face for face in faces if face.split == split] for split in FACES}
    # The first of those that are judged: the same that the model of recipes/real is arguments about (real.py).
    chosen = some(by_split["train"], FACES["train"])
    chosen += [face for split in ("calibrate", "test") for face in by_split[split][: FACES[split]]]
    looked_at(tower, chosen, arguments.out / "ferplus.npz")
    photographs = emotion6(arguments.emotion6)
    looked_at(tower, photographs, arguments.out / "emotion6.npz")
    shown = some([face for face in chosen if face.split == "test"], CORRUPTED)
    for kind in IMAGE_CORRUPTIONS:
        for level in LEVELS:
            damaged = [corrupted_sample(face, kind, level) for face in shown]
            looked_at(tower, damaged, arguments.out / f"ferplus-{kind}-{level}.npz")
    for task in ("kaomoji", "emoji"):
        drawings = [replace(sample, votes=None) for sample in some(load(task, "test"), CORRUPTED)]
        looked_at(tower, drawings, arguments.out / f"{task}.npz")


if __name__ == "__main__":
    main()
