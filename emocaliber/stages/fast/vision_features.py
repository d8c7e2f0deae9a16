"""One pass of a frozen vision tower for each picture: features on disk by the picture's content; and for the Qwen-VL
family a tower that takes them, a processor that brings them.

For a tower that is frozen: one that learns would change them. Where pixels would stand in a batch (`pixel_values`, one
row a patch), the stored features stand, cut into as many rows, with an axis between that tells them from pixels;
whatever slices pixels by pictures slices them alike, and generation and training need not know. The numbers lie in a
file, of which a batch reads its own part. A store counts from the moment that it is sealed; what a stopped run left
unsealed is dropped, so that a run that resumes sees the very bits that an uninterrupted one does.

    reader = feature_processor(model, processor, Path("out/features"), limit=2**30)  # of feature_cache
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import BatchFeature
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from emocaliber.core.outputs import discard

NUMBERS, INDEX = "numbers.bin", "index.json"
STORED = (NUMBERS, INDEX, f"{INDEX}.partial")
Grid = tuple[int, int, int]
"""Patches of one picture: frames, rows, columns."""


def picture_key(picture: Image.Image) -> str:
    """The SHA-256 of a decoded picture's size, mode and pixels, in hex."""
    digest = hashlib.sha256(f"{picture.mode} {picture.size}".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()


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
        stored = json.loads(index.read_text()) if index.exists() else {}
        if stored.get("maker") == self.maker:
            self.places = {key: (at, tuple(grid)) for key, (at, grid) in stored["places"].items()}
            self.size = stored["size"]
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
        taken = sum(tensor.numel() * tensor.element_size() for tensor, _ in features.values())
        if self.size + taken > self.limit:
            return False
        with (self.folder / NUMBERS).open("ab") as file:
            for key, (tensor, grid) in features.items():
                self.places[key] = (self.size, grid)
                self.size += file.write(tensor.to("cpu", self.dtype).contiguous().view(torch.uint8).numpy().tobytes())
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


BATCH = 64  # pictures that go through the tower at a time


class FeatureTower(nn.Module):
    """In the tower's place: takes features for what the tower made of them, and pixels to the tower itself."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self.spatial_merge_size: int = tower.spatial_merge_size
        self.layers = 1 + len(getattr(tower, "deepstack_merger_list", ()))

    @property
    def dtype(self) -> torch.dtype:
        """The tower's."""
        dtype: torch.dtype = self.tower.dtype
        return dtype

    def forward(self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **named: Any) -> Any:
        """[patches, pixels], or [patches, 1, width] of kept features."""
        if hidden_states.dim() == 2:
            return self.tower(hidden_states, grid_thw=grid_thw, **named)
        tokens = len(hidden_states) // self.spatial_merge_size**2
        pooled, *deep = hidden_states.reshape(tokens, self.layers, -1).unbind(1)
        if deep:
            return BaseModelOutputWithDeepstackFeatures(pooler_output=pooled, deepstack_features=deep)  # type: ignore[arg-type]
        return BaseModelOutputWithPooling(pooler_output=pooled)  # type: ignore[arg-type]

    @torch.inference_mode()
    def features(self, pixels: torch.Tensor, grid_thw: torch.Tensor) -> torch.Tensor:
        """What is kept of pictures: [patches, width]."""
        seen = self.tower(pixels.to(self.dtype), grid_thw=grid_thw, return_dict=True)
        deep = seen.deepstack_features if self.layers > 1 else []
        return torch.stack([seen.pooler_output, *deep], dim=1).reshape(len(pixels), -1)


class FeatureProcessor:
    """A processor whose batches hold kept features for the pictures; those that are not kept yet are made and added.

    Adding is for one process alone. A data loader's workers only read, and so must come when it is `closed`.
    """

    def __init__(self, processor: Any, tower: Any, store: FeatureStore) -> None:
        self.processor, self.store = processor, store
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.closed = False
        self._tower = tower

    def apply_chat_template(self, *arguments: Any, **named: Any) -> Any:
        """The processor's own."""
        return self.processor.apply_chat_template(*arguments, **named)

    def __call__(self, text: Sequence[str], images: Sequence[Sequence[Image.Image]] | None = None, **named: Any) -> Any:
        """The processor's batch with features in the place of pixels; with pixels where there was no room to keep."""
        pictures = [picture for row in images or () for picture in row]
        keys = [picture_key(picture) for picture in pictures]
        if not keys or not self.keep(pictures, keys):
            return self.processor(text=list(text), images=images, **named)
        grids = [self.store.grid(key) for key in keys]
        batch: BatchFeature = self.processor(text=self._spread(text, grids), **named)
        batch["pixel_values"] = self.store.read(keys).unsqueeze(1)
        batch["image_grid_thw"] = torch.tensor(grids)
        return batch

    def _spread(self, texts: Sequence[str], grids: Sequence[Grid]) -> list[str]:
        """The texts with as many image tokens for each picture as it has features."""
        mark, merge = self.processor.image_token, self.processor.image_processor.merge_size**2
        left = iter(grids)
        spread = []
        for text in texts:
            first, *rest = text.split(mark)
            counts = [frames * rows * columns // merge for frames, rows, columns in (next(left) for _ in rest)]
            spread.append(first + "".join(mark * count + part for count, part in zip(counts, rest, strict=True)))
        return spread

    def keep(self, pictures: Sequence[Image.Image], keys: Sequence[str]) -> bool:
        """Make and keep the features of those pictures that are new; whether all of them are kept now."""
        new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self.store}
        for start in range(0, len(new), BATCH):
            part = dict(list(new.items())[start : start + BATCH])
            self.closed = self.closed or not self.store.add(self._made(part))
            if self.closed:
                return False
        return True

    def _made(self, pictures: dict[str, Image.Image]) -> dict[str, tuple[torch.Tensor, Grid]]:
        seen = self.image_processor(images=list(pictures.values()), return_tensors="pt")
        grids = seen["image_grid_thw"]
        device = next(self._tower.parameters()).device
        features = self._tower.features(seen["pixel_values"].to(device), grids.to(device)).cpu()
        parts = features.split(grids.prod(-1).tolist())
        return {
            key: (part, (int(grid[0]), int(grid[1]), int(grid[2])))
            for key, part, grid in zip(pictures, parts, grids.tolist(), strict=True)
        }


def maker_of(tower: nn.Module, image_processor: Any) -> str:
    """The SHA-256 of the tower's weights and of how pictures are made ready for it."""
    settings = json.dumps(image_processor.to_dict(), sort_keys=True, default=str)
    digest = hashlib.sha256(settings.encode())
    for name, weight in sorted(tower.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
