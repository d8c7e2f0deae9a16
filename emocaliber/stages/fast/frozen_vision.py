"""One pass of a frozen vision tower for each picture: a tower that takes its own features, a processor that brings
them.

Not for a tower that learns: its features would change. Where pixels would stand in a batch (`pixel_values`, one row a
patch), the kept features stand, cut into as many rows, with an axis between that tells them from pixels; whatever
slices pixels by pictures slices them alike, and generation and training need not know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from PIL import Image
from torch import nn
from transformers import BatchFeature
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from emocaliber.stages.fast.feature_store import FeatureStore, Grid, picture_key

KNOWN = ("qwen2_5_vl", "qwen3_vl")
BATCH = 64  # pictures that go through the tower at a time


def is_known(model: Any) -> bool:
    """Whether the model's family is one whose features can be kept."""
    return model.config.model_type in KNOWN


def vision_holder(model: Any) -> Any:
    """The module whose `visual` is the tower, beneath any adapter, of a model of a known family."""
    return (model.get_base_model() if isinstance(model, PeftModel) else model).model


class FeatureTower(nn.Module):
    """In the tower's place: takes features for what the tower made of them, and pixels to the tower itself."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self.spatial_merge_size: int = tower.spatial_merge_size
        self.layers = 1 + len(tower.deepstack_merger_list if tower.config.model_type.startswith("qwen3") else ())

    @property
    def dtype(self) -> torch.dtype:
        """The tower's."""
        found: torch.dtype = self.tower.dtype
        return found

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

    def __init__(self, processor: Any, tower: FeatureTower, store: FeatureStore) -> None:
        self.processor, self.store = processor, store
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.closed = False
        self._tower = tower

    def apply_chat_template(self, *arguments: Any, **named: Any) -> Any:
        """The processor's own."""
        return self.processor.apply_chat_template(*arguments, **named)

    def __call__(self, text: Sequence[str], images: Sequence[Sequence[Image.Image]] | None = None, **named: Any) -> Any:
        """The processor's batch with features in the place of pixels; with pixels where there was no room to keep."""
        pictures = [one for row in images or () for one in row]
        keys = [picture_key(one) for one in pictures]
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
        new = {key: one for key, one in zip(keys, pictures, strict=True) if key not in self.store}
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


def feature_processor(model: Any, processor: Any, folder: Path, limit: int) -> FeatureProcessor:
    """Put a FeatureTower into the model, and give the processor that goes with it; `limit` is the store's, in bytes."""
    holder = vision_holder(model)
    tower = holder.visual
    if not isinstance(tower, FeatureTower):
        tower = holder.visual = FeatureTower(tower)
    width = tower.layers * tower.tower.config.out_hidden_size // tower.spatial_merge_size**2
    store = FeatureStore(folder, _maker(tower.tower, processor.image_processor), width, tower.dtype, limit)
    return FeatureProcessor(processor, tower, store)


def _maker(tower: nn.Module, image_processor: Any) -> str:
    """The SHA-256 of the tower's weights and of how pictures are made ready for it."""
    settings = json.dumps(image_processor.to_dict(), sort_keys=True, default=str)
    whole = hashlib.sha256(settings.encode())
    for name, weight in sorted(tower.state_dict().items()):
        whole.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        whole.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
