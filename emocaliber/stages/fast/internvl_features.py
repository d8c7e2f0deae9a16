"""InternVL's part of what vision_features keeps: a tower that takes features, a processor that brings them.

Kept is what the tower makes of each tile of a picture, [tokens, width]; the class token's removal, the shuffle of
neighbours and the projector come after it, so that a projector that learns sees each step's gradient.

    reader = feature_processor(model, processor, Path("out/features"), limit=2**30)  # of feature_cache
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

LAST = -1  # the layer of the tower that every published InternVL looks at


class InternVLTower(nn.Module):
    """In the tower's place: takes [tiles, tokens, width] for what the tower made of them, and pixels to the tower."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower

    @property
    def dtype(self) -> torch.dtype:
        """The tower's."""
        dtype: torch.dtype = self.tower.dtype
        return dtype

    @property
    def config(self) -> Any:
        """The tower's, by which its attention is chosen."""
        return self.tower.config

    def forward(self, pixel_values: torch.Tensor, **named: Any) -> Any:
        """[tiles, colours, height, width], or kept features."""
        if pixel_values.dim() == 3:
            return BaseModelOutput(last_hidden_state=pixel_values)  # type: ignore[arg-type]
        return self.tower(pixel_values=pixel_values, **named)

    @torch.inference_mode()
    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """What is kept of tiles: [tiles, tokens, width]."""
        hidden: torch.Tensor = self.tower(pixel_values=pixels.to(self.dtype)).last_hidden_state
        return hidden


class InternVLFeatures(FeatureProcessor):
    """The processor; a picture's grid is (tiles, tokens of each, 1)."""

    def __call__(self, text: Sequence[str], images: Sequence[Sequence[Image.Image]] | None = None, **named: Any) -> Any:
        """The processor's batch with features in the place of pixels; with pixels where there was no room to keep."""
        pictures = [picture for row in images or () for picture in row]
        keys = [picture_key(picture) for picture in pictures]
        if not keys or not self.keep(pictures, keys):
            return self.processor(text=list(text), images=images, **named)
        tiles = [self.store.grid(key)[0] for key in keys]
        encoded = self.tokenizer(self._spread_tiles(text, tiles), **({"padding_side": "left"} | named))
        batch = BatchFeature(dict(encoded))
        features = self.store.read(keys)
        batch["pixel_values"] = features.view(sum(tiles), -1, features.shape[-1])
        return batch

    def _spread_tiles(self, texts: Sequence[str], tiles: Sequence[int]) -> list[str]:
        """The texts with as many image tokens for each picture as its tiles have."""
        processor, left, spread = self.processor, iter(tiles), []
        for text in texts:
            first, *rest = text.split(processor.image_token)
            for part in rest:
                marks = processor.image_token * processor.image_seq_length * next(left)
                first += processor.start_image_token + marks + processor.end_image_token + part
            spread.append(first)
        return spread

    def _made(self, pictures: dict[str, Image.Image]) -> dict[str, tuple[torch.Tensor, Grid]]:
        seen = self.image_processor(images=list(pictures.values()), return_tensors="pt")
        device = next(self._tower.parameters()).device
        features = self._tower.features(seen["pixel_values"].to(device)).cpu()
        tokens, parts = features.shape[1], features.split([int(tiles) for tiles in seen["num_patches"]])
        return {key: (part.flatten(0, 1), (len(part), tokens, 1)) for key, part in zip(pictures, parts, strict=True)}
