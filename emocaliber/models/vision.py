"""What a model's vision tower makes of pictures: one vector each, to tell how unlike the training pictures they are.

Not an engine: nothing is asked. Any model that transformers loads has a tower, also one that vLLM serves, which gives
no hidden states itself: then this is a pass on the side. An adapter on the language model leaves the tower as it is.

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

WORDS = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


class VisionTower:
    """The tower of a model folder or hub name. Raises OSError where it cannot be loaded."""

    def __init__(self, model: str | Path, device: str = "auto") -> None:
        self._processor: Any = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
        loaded: Any = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32, use_safetensors=True)
        self._model = loaded.to(chosen_device(device)).eval()
        self._text: str = self._processor.apply_chat_template(messages(""), tokenize=False, add_generation_prompt=True)

    def features(self, images: Sequence[Image.Image | None]) -> npt.NDArray[np.float64]:
        """The mean over the tower's last tokens of each picture [n, width]; NaN for None."""
        seen = [None if image is None else self._look(image) for image in images]
        width = next((own.size for own in seen if own is not None), 0)
        return np.array([np.full(width, np.nan) if own is None else own for own in seen], np.float64)

    @torch.inference_mode()
    def _look(self, image: Image.Image) -> npt.NDArray[np.float64]:
        inputs = self._processor(text=[self._text], images=[[image]], return_tensors="pt")
        inputs = inputs.to(self._model.device, self._model.dtype)
        seen = self._model.get_image_features(**{name: value for name, value in inputs.items() if name not in WORDS})
        mean: npt.NDArray[np.float64] = seen.last_hidden_state.flatten(0, -2).mean(0).double().cpu().numpy()
        return mean
