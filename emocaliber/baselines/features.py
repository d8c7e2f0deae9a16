"""Views of pictures from a frozen vision-language backbone, for the baselines: `emocaliber baseline features`.

Not a classifier: nothing is trained. Three views a picture, each a row of NaN where the picture cannot be read:

- `image` [2 h]: mean and maximum over the vision tower's tokens, as the language model receives them;
- `centre` [2 h]: the same for the middle half of the picture, drawn at full size;
- `caption` [h]: mean of the last layer's states over the words with which the model itself answers a question about it.

    emocaliber baseline features --data emoji --out out/features
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from emocaliber.baselines.view_corpora import SPLITS
from emocaliber.baselines.view_files import Rows, ViewSet
from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, load_image
from emocaliber.core.prompting import messages
from emocaliber.core.samples import Sample

Floats = npt.NDArray[np.float32]
Progress = Callable[[str], None]
VIEWS = ("image", "centre", "caption")
WORDS = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


class FeatureExtractor:
    """A backbone used for features only: `model` is a folder or Hub name, `question` the prompt for its caption. Raises
    OSError if the model cannot be loaded."""

    def __init__(self, model: str | Path, question: str, *, batch_size: int = 64, max_new_tokens: int = 16) -> None:
        self.processor: Any = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
        loaded: Any = AutoModelForImageTextToText.from_pretrained(model, dtype="auto", use_safetensors=True)
        self.model = loaded.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self._batch_size, self._length = batch_size, max_new_tokens
        self._text: str = self.processor.apply_chat_template(
            messages(question), tokenize=False, add_generation_prompt=True
        )

    def views(self, samples: Sequence[Sample], on_progress: Progress = lambda _: None) -> dict[str, Floats]:
        """The views of n samples by name, [n, width] each. Raises UserError if no picture can be read."""
        collected: list[dict[str, Floats] | None] = []
        for start in range(0, len(samples), self._batch_size):
            collected += self._batch([_picture(sample) for sample in samples[start : start + self._batch_size]])
            on_progress(f"looking at picture {len(collected):,} of {len(samples):,}")
        example = next((row_views for row_views in collected if row_views is not None), None)
        if example is None:
            raise UserError(f"none of {len(samples)} pictures can be read; check the data")
        return {
            name: np.stack(
                [
                    np.full_like(example[name], np.nan) if row_views is None else row_views[name]
                    for row_views in collected
                ]
            )
            for name in VIEWS
        }

    @torch.inference_mode()
    def _batch(self, images: Sequence[Image.Image | None]) -> list[dict[str, Floats] | None]:
        decoded = [image for image in images if image is not None]
        if not decoded:
            return [None] * len(images)
        inputs = self._inputs(decoded)
        rows = zip(
            self._pooled(inputs), self._pooled(self._inputs([_centre(i) for i in decoded])), self._caption(inputs),
            strict=True,
        )  # fmt: skip
        produced = iter([dict(zip(VIEWS, (part.float().cpu().numpy() for part in row), strict=True)) for row in rows])
        return [None if image is None else next(produced) for image in images]

    def _inputs(self, images: Sequence[Image.Image]) -> Any:
        inputs = self.processor(
            text=[self._text] * len(images),
            images=[[image] for image in images],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        return inputs.to(self.model.device, self.model.dtype)

    def _pooled(self, inputs: Any) -> list[Tensor]:
        """Mean and maximum over each picture's tokens [2 h].

        A backbone may cut a picture into tiles: which tokens are whose is told by the places kept for them in the text.
        """
        seen = self.model.get_image_features(**{name: value for name, value in inputs.items() if name not in WORDS})
        every = torch.cat([tokens.flatten(0, -2) for tokens in seen.pooler_output])
        places = (inputs["input_ids"] == self.model.config.image_token_id).sum(1)
        return [torch.cat([tokens.mean(0), tokens.amax(0)]) for tokens in every.split(places.tolist())]

    def _caption(self, inputs: Any) -> Tensor:
        """The mean hidden state of the caption's tokens [n, h], without those after its end."""
        generated = self.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=self._length,
            return_dict_in_generate=True,
            output_hidden_states=True,
        )
        states = torch.stack([step[-1][:, -1] for step in generated.hidden_states], dim=1)
        words = generated.sequences[:, inputs["input_ids"].shape[1] :][:, : states.shape[1]]
        ends = self.model.generation_config.eos_token_id
        ended = torch.isin(words, torch.tensor(ends, device=words.device).reshape(-1))
        inside = (ended.cumsum(1) - ended.long() == 0).unsqueeze(-1)
        total: Tensor = (states * inside).sum(1) / inside.sum(1)
        return total


def view_set(samples: Sequence[Sample], extractor: FeatureExtractor, on_progress: Progress = lambda _: None) -> ViewSet:
    """Views of one task's labelled samples in the splits train, calibrate and test.

    Raises UserError where samples are of several tasks or candidates, or have no label.
    """
    kinds = {(sample.task, sample.candidates) for sample in samples}
    if len(kinds) != 1:
        raise UserError(f"one task with one list of candidates was expected; found {sorted(kinds)}")
    task, classes = kinds.pop()
    splits = {}
    for split in SPLITS:
        own = [sample for sample in samples if sample.split == split]
        if own:
            on_progress(f"{task}, {split}: {len(own):,} pictures")
            splits[split] = rows_of(own, classes, extractor.views(own, on_progress=on_progress))
    return ViewSet(task, classes, splits)


def rows_of(samples: Sequence[Sample], classes: Sequence[str], views: dict[str, Floats]) -> Rows:
    """Samples and their views as the rows of a split. Raises UserError naming a sample without a label."""
    if missing := next((sample.id for sample in samples if sample.label is None), None):
        raise UserError(f"{missing} has no label; baselines train and are judged on labelled rows")
    voted = all(sample.votes for sample in samples)
    counts = [[(sample.votes or {}).get(label, 0) for label in classes] for sample in samples]
    return Rows(
        dict(views),
        np.array([str(sample.label) for sample in samples]),
        np.array([sample.id for sample in samples]),
        np.array([sample.group for sample in samples]),
        np.array([sample.cluster for sample in samples]),
        np.array(counts, np.float64) if voted else None,
    )


def _picture(sample: Sample) -> Image.Image | None:
    try:
        return load_image(sample.image)
    except ImageError:
        return None


def _centre(image: Image.Image) -> Image.Image:
    width, height = image.size
    box = (width // 4, height // 4, width - width // 4, height - height // 4)
    return image.crop(box).resize(image.size, Image.Resampling.BICUBIC)
