"""Adapter checks: is all of it served, and does it change anything? An adapter without effect is an error, not a
warning.

The effect is measured by comparing log-probabilities with and without the adapter on a few synthetic pictures.

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

MIN_CHANGE = 5e-5
"""In nats. Merging an untrained adapter changes log-probabilities by a few 1e-6, float32's rounding; the threshold was
chosen well above that."""

PROBED = ("<answer>", "happy", "sad")
"""The continuations whose log-probabilities are compared."""

_VISION = re.compile(r"(?:^|\.)(?:visual|vision_tower|vision_model|vision_encoder)\.")
_NOISE_PICTURES = 3


def vision_weights(adapter: str | Path) -> list[str]:
    """The names of the adapter's weights on the vision tower. Raises UserError where its file is missing or broken."""
    from emocaliber.models.loading import weight_names  # imports torch, which the server engine does not need

    return [name for name in weight_names(adapter) if _VISION.search(name)]


def projector_weights(adapter: str | Path) -> list[str]:
    """The names of the adapter's weights on the projector between vision tower and language model: LoRA's, or the
    trained projector itself. Raises UserError where its file is missing or broken."""
    from emocaliber.models.loading import weight_names
    from emocaliber.models.projectors import PROJECTOR

    return [name for name in weight_names(adapter) if PROJECTOR.match(name)]


def beyond_language_model(adapter: str | Path) -> list[str]:
    """The names of LoRA weights on vision tower or projector, which vLLM applies only with
    `enable_tower_connector_lora`. Raises UserError where the adapter's file is missing or broken."""
    return sorted(filter(is_lora, {*vision_weights(adapter), *projector_weights(adapter)}))


def is_lora(name: str) -> bool:
    """Whether an adapter's weight is a LoRA matrix."""
    return ".lora_" in name


def refuse_learned_projector(adapter: str | Path) -> None:
    """Raises UserError where the adapter has a trained projector: vLLM loads only LoRA weights from an adapter."""
    if learned := [name for name in projector_weights(adapter) if not is_lora(name)]:
        raise UserError(
            f"{adapter}: {len(learned)} weights are a trained projector ({learned[0]}), which vLLM does not serve"
            f" from an adapter; {merging(adapter)}"
        )


def refuse_beyond_language_model(adapter: str | Path, model_class: type) -> None:
    """Raises UserError where LoRA is on vision tower or projector and the model's class in vLLM does not support it."""
    if not getattr(model_class, "supports_tower_connector_lora", False):
        names = beyond_language_model(adapter)
        raise UserError(
            f"{adapter}: {len(names)} weights belong to vision tower or projector ({names[0]}), where vLLM's"
            f" {model_class.__name__} applies no adapter; {merging(adapter)}"
        )


def merging(adapter: str | Path) -> str:
    """Advice for an adapter that vLLM would serve only in part."""
    return (
        f"merge it into the model (`emocaliber export {Path(adapter).parent} --merge --out DIR`) and serve DIR, or use"
        " the transformers engine"
    )


def probes() -> list[Request]:
    """A fixed set of requests about noise and a gradient."""
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(_NOISE_PICTURES)]
    pictures.append(np.tile(np.linspace(0, 255, 112, dtype=np.uint8)[:, None, None], (1, 112, 3)))
    prompt = "Which feeling fits this image: happy, sad? Give your answer."
    return [Request(f"probe {number}", Image.fromarray(pixels), prompt) for number, pixels in enumerate(pictures)]


def check_alive(adapter: str | Path, base: NDArray[np.float64], adapted: NDArray[np.float64]) -> None:
    """Compare log-probabilities, of any shape, without and with the adapter. Raises UserError where none changed."""
    change = float(np.max(np.abs(base - adapted)))
    if not change > MIN_CHANGE:
        raise UserError(
            f"{adapter}: the adapter changes no answer (largest change of a log-probability {change:.1e} nats); was it"
            " trained, and for this model?"
        )


def check_sees(model: str | Path, scores: NDArray[np.float64]) -> None:
    """Compare a model's log-probabilities [probes, continuations] between pictures. Raises UserError where they are the
    same: its weights are zero, or it does not receive the pictures.
    """
    change = float(np.ptp(scores, axis=0).max())
    if not change > MIN_CHANGE:
        raise UserError(
            f"{model}: the model gives every picture the same answer (largest change of a log-probability"
            f" {change:.1e} nats); are its weights complete?"
        )
