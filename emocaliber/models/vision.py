"""Features of a model's vision tower, one vector a picture, to measure how far pictures are from the training pictures.

Not an engine: no question is asked. Works for any model that transformers loads. vLLM returns no hidden states, so for
models that it serves this is a separate pass. An adapter on the language model does not change the features.

    features = VisionTower("path/to/model").features(images)        # [n, width]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from emocaliber.core.prompting import messages
from emocaliber.models.loading import chosen_device

TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


class VisionTower:
    """The vision tower of a model folder or Hub name. Raises OSError where it cannot be loaded."""

    def __init__(self, model: str | Path, device: str = "auto") -> None:
        self._processor: Any = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
        loaded: Any = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32, use_safetensors=True)
        self._model = loaded.to(chosen_device(device)).eval()
        self._text: str = self._processor.apply_chat_template(messages(""), tokenize=False, add_generation_prompt=True)

    def features(self, images: Sequence[Image.Image | None]) -> npt.NDArray[np.float64]:
        """The mean of the tower's last hidden state over the tokens of each picture, [n, width]; NaN for None."""
        rows = [None if image is None else self._features_of(image) for image in images]
        width = next((row.size for row in rows if row is not None), 0)
        return np.array([np.full(width, np.nan) if row is None else row for row in rows], np.float64)

    @torch.inference_mode()
    def _features_of(self, image: Image.Image) -> npt.NDArray[np.float64]:
        inputs = self._processor(text=[self._text], images=[[image]], return_tensors="pt")
        inputs = inputs.to(self._model.device, self._model.dtype)
        pictures = {name: value for name, value in inputs.items() if name not in TEXT_INPUTS}
        output = self._model.get_image_features(**pictures)
        mean: npt.NDArray[np.float64] = output.last_hidden_state.flatten(0, -2).mean(0).double().cpu().numpy()
        return mean
