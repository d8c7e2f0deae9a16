"""Features of a frozen vision tower, kept on disk by the picture's content; for the Qwen-VL family, a tower that takes
them and a processor that supplies them. Each picture then goes through the real tower once.

In a batch, kept features replace the pixels: `pixel_values` has one row a patch either way, and an extra axis in the
middle marks features. Code that slices pixels by picture slices features in the same way, so that generation and
training need no change. The features are one file, of which a batch reads only its part. Additions count once the store
is sealed; what a stopped run left unsealed is dropped, so that a resumed run computes with the same bits as an
uninterrupted one.

    processor = feature_processor(model, processor, Path("out/features"), limit=2**30)  # of feature_cache
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
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
"""The patches of one picture: frames, rows, columns."""


def picture_key(picture: Image.Image) -> str:
    """The SHA-256 of a decoded picture's size, mode and pixels, in hex."""
    digest = hashlib.sha256(f"{picture.mode} {picture.size}".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()


@dataclass
class FeatureStore:
    """The features of pictures in one folder, by `picture_key`: [patches, width] of `dtype` for each picture.

    `fingerprint` identifies the tower and image processor that computed them (see fingerprint_of): a folder with
    another fingerprint is emptied. Nothing is added beyond `limit` bytes. `entries` holds offset and grid by key.
    """

    folder: Path
    fingerprint: str
    width: int
    dtype: torch.dtype
    limit: int
    entries: dict[str, tuple[int, Grid]] = field(default_factory=dict, repr=False)
    size: int = 0

    def __post_init__(self) -> None:
        """Read the index of a sealed folder with the same fingerprint, or start with an empty folder."""
        index = self.folder / INDEX
        stored = json.loads(index.read_text()) if index.exists() else {}
        if stored.get("maker") == self.fingerprint:
            self.entries = {key: (at, tuple(grid)) for key, (at, grid) in stored["places"].items()}
            self.size = stored["size"]
        else:
            discard(self.folder, *STORED)
            self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / NUMBERS).open("ab") as file:
            file.truncate(self.size)

    def __contains__(self, key: object) -> bool:
        """Whether the picture's features are kept."""
        return key in self.entries

    def grid(self, key: str) -> Grid:
        """The picture's grid of patches. Raises KeyError where it is not kept."""
        return self.entries[key][1]

    def add(self, features: dict[str, tuple[torch.Tensor, Grid]]) -> bool:
        """Append the features [patches, width] and grids of pictures; False, with nothing added, beyond the limit.

        Not for several threads at once (see FeatureProcessor.keep).
        """
        added = sum(tensor.numel() * tensor.element_size() for tensor, _ in features.values())
        if self.size + added > self.limit:
            return False
        with (self.folder / NUMBERS).open("ab") as file:
            for key, (tensor, grid) in features.items():
                self.entries[key] = (self.size, grid)
                self.size += file.write(tensor.to("cpu", self.dtype).contiguous().view(torch.uint8).numpy().tobytes())
        return True

    def read(self, keys: Sequence[str]) -> torch.Tensor:
        """The pictures' features, concatenated: [patches, width]. Raises KeyError where one is not kept."""
        row = self.width * self.dtype.itemsize
        parts = bytearray()
        with (self.folder / NUMBERS).open("rb", buffering=0) as file:
            for key in keys:
                at, (frames, rows, columns) = self.entries[key]
                file.seek(at)
                parts += file.read(frames * rows * columns * row)
        return torch.frombuffer(parts, dtype=self.dtype).reshape(-1, self.width)

    def seal(self) -> None:
        """Write the index, so that what was added is kept for later runs."""
        partial = self.folder / f"{INDEX}.partial"
        partial.write_text(json.dumps({"maker": self.fingerprint, "size": self.size, "places": self.entries}))
        partial.replace(self.folder / INDEX)


BATCH = 64  # pictures that go through the tower at a time
_ADDING = Lock()  # a processor's own would keep it from being sent to a data loader's workers


class FeatureTower(nn.Module):
    """Stands in for the tower: returns kept features as the tower's output, passes pixels to the tower."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self.spatial_merge_size: int = tower.spatial_merge_size
        self.layers = 1 + len(getattr(tower, "deepstack_merger_list", ()))

    @property
    def dtype(self) -> torch.dtype:
        """The tower's dtype."""
        dtype: torch.dtype = self.tower.dtype
        return dtype

    def forward(self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **named: Any) -> Any:
        """Pixels [patches, pixels], or kept features [patches, 1, width]."""
        if hidden_states.dim() == 2:
            return self.tower(hidden_states, grid_thw=grid_thw, **named)
        tokens = len(hidden_states) // self.spatial_merge_size**2
        pooled, *deep = hidden_states.reshape(tokens, self.layers, -1).unbind(1)
        if deep:
            return BaseModelOutputWithDeepstackFeatures(pooler_output=pooled, deepstack_features=deep)  # type: ignore[arg-type]
        return BaseModelOutputWithPooling(pooler_output=pooled)  # type: ignore[arg-type]

    @torch.inference_mode()
    def features(self, pixels: torch.Tensor, grid_thw: torch.Tensor) -> torch.Tensor:
        """The features to keep of pictures: [patches, width]."""
        output = self.tower(pixels.to(self.dtype), grid_thw=grid_thw, return_dict=True)
        deep = output.deepstack_features if self.layers > 1 else []
        return torch.stack([output.pooler_output, *deep], dim=1).reshape(len(pixels), -1)


class FeatureProcessor:
    """Wraps a processor: its batches hold kept features instead of pixels; missing ones are computed and added.

    Only one process may add, from any of its threads: an engine prepares a batch while it answers another. A data
    loader's workers must not, so start them when it is `closed`.
    """

    def __init__(self, processor: Any, tower: Any, store: FeatureStore) -> None:
        self.processor, self.store = processor, store
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.closed = False
        self._tower = tower

    def apply_chat_template(self, *arguments: Any, **named: Any) -> Any:
        """As the wrapped processor does."""
        return self.processor.apply_chat_template(*arguments, **named)

    def __call__(self, text: Sequence[str], images: Sequence[Sequence[Image.Image]] | None = None, **named: Any) -> Any:
        """The processor's batch with features instead of pixels; with pixels where the store is full."""
        pictures = [picture for row in images or () for picture in row]
        keys = [picture_key(picture) for picture in pictures]
        if not keys or not self.keep(pictures, keys):
            return self.processor(text=list(text), images=images, **named)
        grids = [self.store.grid(key) for key in keys]
        batch: BatchFeature = self.processor(text=self._expand_image_tokens(text, grids), **named)
        batch["pixel_values"] = self.store.read(keys).unsqueeze(1)
        batch["image_grid_thw"] = torch.tensor(grids)
        return batch

    def _expand_image_tokens(self, texts: Sequence[str], grids: Sequence[Grid]) -> list[str]:
        """The texts with each picture's placeholder expanded to as many image tokens as it has features."""
        token, merge = self.processor.image_token, self.processor.image_processor.merge_size**2
        remaining = iter(grids)
        expanded = []
        for text in texts:
            first, *rest = text.split(token)
            counts = [frames * rows * columns // merge for frames, rows, columns in (next(remaining) for _ in rest)]
            expanded.append(first + "".join(token * count + part for count, part in zip(counts, rest, strict=True)))
        return expanded

    def keep(self, pictures: Sequence[Image.Image], keys: Sequence[str]) -> bool:
        """Compute and add the features of pictures that are not kept yet; True if all are kept now."""
        with _ADDING:  # offsets are right only where one batch is added after another
            new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self.store}
            for start in range(0, len(new), BATCH):
                part = dict(list(new.items())[start : start + BATCH])
                self.closed = self.closed or not self.store.add(self._computed(part))
                if self.closed:
                    return False
            return True

    def _computed(self, pictures: dict[str, Image.Image]) -> dict[str, tuple[torch.Tensor, Grid]]:
        inputs = self.image_processor(images=list(pictures.values()), return_tensors="pt")
        grids = inputs["image_grid_thw"]
        device = next(self._tower.parameters()).device
        features = self._tower.features(inputs["pixel_values"].to(device), grids.to(device)).cpu()
        parts = features.split(grids.prod(-1).tolist())
        return {
            key: (part, (int(grid[0]), int(grid[1]), int(grid[2])))
            for key, part, grid in zip(pictures, parts, grids.tolist(), strict=True)
        }


def fingerprint_of(tower: nn.Module, image_processor: Any) -> str:
    """The SHA-256 of the tower's weights and of the image processor's settings, in hex."""
    settings = json.dumps(image_processor.to_dict(), sort_keys=True, default=str)
    digest = hashlib.sha256(settings.encode())
    for name, weight in sorted(tower.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
