"""Adapters: is this one served in full, and does it change anything? An adapter without effect is an error, not a
warning.

Not a trainer. The question is asked with a handful of synthetic pictures, base against adapter, by log-probabilities.

python -c "from emocaliber.generation.adapters import vision_weights;
print(vision_weights('out/3-calibrate/adapter'))"
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.generation.engine import Request

LEAST_CHANGE = 5e-5
"""In nats. Merging an untrained adapter moves a log-probability by a few 1e-6, which is rounding in float32; the
threshold stands above that by judgement."""

PROBED = ("<answer>", "happy", "sad")
"""The continuations whose log-probabilities are compared."""

_VISION = re.compile(r"(?:^|\.)(?:visual|vision_tower|vision_model|vision_encoder)\.")
_PICTURES = 3


def vision_weights(adapter: str | Path) -> list[str]:
    """The adapter's weights that belong to the vision tower. Raises UserError where it holds no sound weights."""
    from emocaliber.models.loading import weight_names  # imports torch, which an engine at a server does without

    return [name for name in weight_names(adapter) if _VISION.search(name)]


def projector_weights(adapter: str | Path) -> list[str]:
    """The adapter's weights that belong to the projector between vision tower and language model, learned beside
    LoRA's. Raises UserError where it holds no sound weights."""
    from emocaliber.models.loading import weight_names
    from emocaliber.models.projectors import PROJECTOR

    return [name for name in weight_names(adapter) if PROJECTOR.match(name)]


def refuse_unserved(adapter: str | Path, engine: str) -> None:
    """Raises UserError where the adapter changes more than the language model: the engine would serve it in part."""
    parts = {"vision tower": vision_weights(adapter), "projector": projector_weights(adapter)}
    for part, names in parts.items():
        if names:
            raise UserError(
                f"{adapter}: {len(names)} weights belong to the {part} ({names[0]}), which {engine} does not serve from"
                f" an adapter; merge it into the model (`emocaliber export {Path(adapter).parent} --merge --out DIR`)"
                " and serve DIR, or use the transformers engine"
            )


def probes() -> list[Request]:
    """A few questions about noise and gradients, the same ones every time."""
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(_PICTURES)]
    pictures.append(np.tile(np.linspace(0, 255, 112, dtype=np.uint8)[:, None, None], (1, 112, 3)))
    prompt = "Which feeling fits this image: happy, sad? Give your answer."
    return [Request(f"probe {number}", Image.fromarray(pixels), prompt) for number, pixels in enumerate(pictures)]


def check_alive(adapter: str | Path, base: NDArray[np.float64], adapted: NDArray[np.float64]) -> None:
    """Compare log-probabilities (any one shape) without and with the adapter. Raises UserError where none changed."""
    change = float(np.max(np.abs(base - adapted)))
    if not change > LEAST_CHANGE:
        raise UserError(
            f"{adapter}: the adapter changes no answer (largest change of a log-probability {change:.1e} nats); was it"
            " trained, and for this model?"
        )


def check_sees(model: str | Path, scores: NDArray[np.float64]) -> None:
    """Compare log-probabilities [probes, continuations] of one model on different pictures. Raises UserError where
    they are the same: a model of zeros, or one that is given no picture.
    """
    change = float(np.ptp(scores, axis=0).max())
    if not change > LEAST_CHANGE:
        raise UserError(
            f"{model}: the model gives every picture the same answer (largest change of a log-probability"
            f" {change:.1e} nats); are its weights complete?"
        )
