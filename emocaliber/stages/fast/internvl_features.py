"""InternVL's counterpart of vision_features: a tower that takes kept features and a processor that supplies them.

What is kept is the tower's output for each tile of a picture, [tokens, width]. Dropping the class token, the pixel
shuffle and the projector come after it, so that the projector can be trained.

    processor = feature_processor(model, processor, Path("out/features"), limit=2**30)  # of feature_cache
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import BatchFeature
from transformers.modeling_outputs import BaseModelOutput

from emocaliber.stages.fast.vision_features import FeatureProcessor, Grid, picture_key

LAST_LAYER = -1  # the tower's layer that every published InternVL takes its features from


class InternVLTower(nn.Module):
    """Stands in for the tower: returns kept features [tiles, tokens, width] as they are, passes pixels to the tower."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower

    @property
    def dtype(self) -> torch.dtype:
        """The tower's dtype."""
        dtype: torch.dtype = self.tower.dtype
        return dtype

    @property
    def config(self) -> Any:
        """The tower's configuration, through which transformers selects its attention."""
        return self.tower.config

    def forward(self, pixel_values: torch.Tensor, **named: Any) -> Any:
        """Pixels [tiles, channels, height, width], or kept features [tiles, tokens, width]."""
        if pixel_values.dim() == 3:
            return BaseModelOutput(last_hidden_state=pixel_values)  # type: ignore[arg-type]
        return self.tower(pixel_values=pixel_values, **named)

    @torch.inference_mode()
    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """The features to keep of tiles: [tiles, tokens, width]."""
        hidden: torch.Tensor = self.tower(pixel_values=pixels.to(self.dtype)).last_hidden_state
        return hidden


class InternVLFeatureProcessor(FeatureProcessor):
    """The processor for InternVL; a picture's grid is (tiles, tokens per tile, 1)."""

    def __call__(self, text: Sequence[str], images: Sequence[Sequence[Image.Image]] | None = None, **named: Any) -> Any:
        """The processor's batch with features instead of pixels; with pixels where the store is full."""
        pictures = [picture for row in images or () for picture in row]
        keys = [picture_key(picture) for picture in pictures]
        if not keys or not self.keep(pictures, keys):
            return self.processor(text=list(text), images=images, **named)
        tiles = [self.store.grid(key)[0] for key in keys]
        encoded = self.tokenizer(self._expand_tiles(text, tiles), **({"padding_side": "left"} | named))
        batch = BatchFeature(dict(encoded))
        features = self.store.read(keys)
        batch["pixel_values"] = features.view(sum(tiles), -1, features.shape[-1])
        return batch

    def _expand_tiles(self, texts: Sequence[str], tiles: Sequence[int]) -> list[str]:
        """The texts with each picture's placeholder expanded to as many image tokens as its tiles have."""
        processor, remaining, expanded = self.processor, iter(tiles), []
        for text in texts:
            first, *rest = text.split(processor.image_token)
            for part in rest:
                image_tokens = processor.image_token * processor.image_seq_length * next(remaining)
                first += processor.start_image_token + image_tokens + processor.end_image_token + part
            expanded.append(first)
        return expanded

    def _computed(self, pictures: dict[str, Image.Image]) -> dict[str, tuple[torch.Tensor, Grid]]:
        inputs = self.image_processor(images=list(pictures.values()), return_tensors="pt")
        device = next(self._tower.parameters()).device
        features = self._tower.features(inputs["pixel_values"].to(device)).cpu()
        tokens, parts = features.shape[1], features.split([int(tiles) for tiles in inputs["num_patches"]])
        return {key: (part.flatten(0, 1), (len(part), tokens, 1)) for key, part in zip(pictures, parts, strict=True)}
