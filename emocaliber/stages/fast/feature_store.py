"""What a frozen vision tower made of each picture, kept on disk by the picture's content.

Not a model (see frozen_vision) and not a memory that grows: the numbers lie in one file, of which a batch reads its own
part. A store counts from the moment that it is sealed; what a stopped run left unsealed is dropped, so that a run that
goes on sees the very bits that an uninterrupted one does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from emocaliber.core.outputs import discard

NUMBERS, INDEX = "numbers.bin", "index.json"
STORED = (NUMBERS, INDEX, f"{INDEX}.partial")
Grid = tuple[int, int, int]
"""Patches of one picture: frames, rows, columns."""


def picture_key(picture: Image.Image) -> str:
    """The SHA-256 of a decoded picture's size, mode and pixels, in hex."""
    whole = hashlib.sha256(f"{picture.mode} {picture.size}".encode())
    whole.update(picture.tobytes())
    return whole.hexdigest()


@dataclass
class FeatureStore:
    """The features of pictures by their key, in one folder.

    `maker` tells the weights and the picture sizes that made them: a folder that another made is emptied. `limit` is
    the size in bytes beyond which nothing is added. Each picture's features are [patches, width] of `dtype`.
    """

    folder: Path
    maker: str
    width: int
    dtype: torch.dtype
    limit: int
    places: dict[str, tuple[int, Grid]] = field(default_factory=dict, repr=False)
    size: int = 0

    def __post_init__(self) -> None:
        """Read the index of a sealed folder that the same maker filled, or start an empty one."""
        index = self.folder / INDEX
        known = json.loads(index.read_text()) if index.exists() else {}
        if known.get("maker") == self.maker:
            self.places = {key: (at, tuple(grid)) for key, (at, grid) in known["places"].items()}
            self.size = known["size"]
        else:
            discard(self.folder, *STORED)
            self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / NUMBERS).open("ab") as file:
            file.truncate(self.size)

    def __contains__(self, key: object) -> bool:
        """Whether the picture's features are kept."""
        return key in self.places

    def grid(self, key: str) -> Grid:
        """The picture's grid of patches. Raises KeyError where it is not kept."""
        return self.places[key][1]

    def add(self, features: dict[str, tuple[torch.Tensor, Grid]]) -> bool:
        """Append the features [patches, width] and grids of pictures; whether there was room for them."""
        taken = sum(one.numel() * one.element_size() for one, _ in features.values())
        if self.size + taken > self.limit:
            return False
        with (self.folder / NUMBERS).open("ab") as file:
            for key, (one, grid) in features.items():
                self.places[key] = (self.size, grid)
                self.size += file.write(one.to("cpu", self.dtype).contiguous().view(torch.uint8).numpy().tobytes())
        return True

    def read(self, keys: Sequence[str]) -> torch.Tensor:
        """The pictures' features, one after the other: [patches, width]. Raises KeyError where one is not kept."""
        row = self.width * self.dtype.itemsize
        parts = bytearray()
        with (self.folder / NUMBERS).open("rb", buffering=0) as file:
            for key in keys:
                at, (frames, rows, columns) = self.places[key]
                file.seek(at)
                parts += file.read(frames * rows * columns * row)
        return torch.frombuffer(parts, dtype=self.dtype).reshape(-1, self.width)

    def seal(self) -> None:
        """Make what was added count from now on, also for a run that comes after."""
        partial = self.folder / f"{INDEX}.partial"
        partial.write_text(json.dumps({"maker": self.maker, "size": self.size, "places": self.places}))
        partial.replace(self.folder / INDEX)
