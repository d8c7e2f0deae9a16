"""What stands between a model's vision tower and its language model, and an adapter that holds one that learned.

Beside LoRA's matrices, PEFT keeps all weights of a projector that learns, as a module to save.

    LoraConfig(..., modules_to_save=projectors(model))
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper, set_peft_model_state_dict
from safetensors.torch import load_file

PROJECTOR = re.compile(
    r"(.*\.)?(multi_modal_projector|connector|embed_vision|model\.merger|visual\.(merger|deepstack_merger_list\.\d+))"
)
"""The names that LLaVA, InternVL and LFM2-VL give it, SmolVLM, Gemma, MiniCPM-V, and Qwen-VL."""


def projectors(model: torch.nn.Module) -> list[str]:
    """The names of a model's modules between vision tower and language model; none where its family is unknown."""
    return [name for name, _ in model.named_modules() if PROJECTOR.fullmatch(name)]


def learned_projectors(model: torch.nn.Module) -> list[ModulesToSaveWrapper]:
    """The modules that an adapter replaces as a whole: those of a projector that learned."""
    return [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]


def projector_in_float32(model: torch.nn.Module) -> bool:
    """Hold a projector that learns in float32, as PEFT holds LoRA's matrices; whether one was in a shorter type.

    In bfloat16 most updates are smaller than half of a weight's last place, and lost.
    """
    short = False
    for wrapper in learned_projectors(model):
        for module in wrapper.modules_to_save.values():
            if any(weight.dtype != torch.float32 for weight in module.parameters()):
                short = True
                module.float().register_forward_pre_hook(_widened)
    return short


def read_without_rounding(loaded: PeftModel, weights: Path) -> None:
    """Hold the projector of an adapter that was just read in float32, and read its file again where it was rounded."""
    if projector_in_float32(loaded):
        set_peft_model_state_dict(loaded, load_file(weights))


def _widened(module: torch.nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where nothing casts by itself, the frozen tower's shorter type meets the projector's."""
    return tuple(each.float() if isinstance(each, torch.Tensor) else each for each in arguments)
