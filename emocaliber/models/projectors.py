"""The projector between a model's vision tower and its language model, and adapters that contain a trained one.

Beside LoRA's matrices, PEFT saves all weights of a trained projector, as one of `modules_to_save`.

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
"""Its names, in order: in LLaVA, InternVL and LFM2-VL; in SmolVLM; in Gemma; in MiniCPM-V; in Qwen-VL."""


def projectors(model: torch.nn.Module) -> list[str]:
    """The names of a model's projector modules; empty for an unknown family."""
    return [name for name, _ in model.named_modules() if PROJECTOR.fullmatch(name)]


def learned_projectors(model: torch.nn.Module) -> list[ModulesToSaveWrapper]:
    """The modules that an adapter replaces as a whole, which are a trained projector's."""
    return [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]


def projector_in_float32(model: torch.nn.Module) -> bool:
    """Convert a trained projector to float32, as PEFT does with LoRA's matrices; returns whether that was necessary.

    In bfloat16 most updates would be rounded away.
    """
    short = False
    for wrapper in learned_projectors(model):
        for module in wrapper.modules_to_save.values():
            if any(weight.dtype != torch.float32 for weight in module.parameters()):
                short = True
                module.float().register_forward_pre_hook(_widened)
    return short


def read_without_rounding(loaded: PeftModel, weights: Path) -> None:
    """Convert a just loaded adapter's projector to float32, and reload its weights if loading had rounded them."""
    if projector_in_float32(loaded):
        set_peft_model_state_dict(loaded, load_file(weights))


def _widened(module: torch.nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Casts inputs to float32: without autocast, the frozen tower's bfloat16 would meet the projector's float32."""
    return tuple(each.float() if isinstance(each, torch.Tensor) else each for each in arguments)
