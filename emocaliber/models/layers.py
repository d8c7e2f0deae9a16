"""How many of the language model's layers a LoRA target covers, in both token mixer and MLP.

Attention projections alone are not enough: three in four Qwen3.5 layers have a Gated DeltaNet and most LFM2 layers a
convolution, and a target that does not name these silently leaves them frozen.

    reach = reach_of(meta_model(config), recipe.lora_target)
    reach.reached, reach.layers, reach.untouched        # 8, 32, {"linear_attn": 24}
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel

ROUTERS = frozenset({"router", "gate"})
"""Expert routers, which LoRA need not cover."""


@dataclass(frozen=True)
class Reach:
    """The number of the language model's layers, of those with LoRA in every part, and for each part the number of
    layers in which it has none.

    A part is a direct child of a layer that contains linear layers: self_attn, linear_attn or conv, and mlp.
    """

    layers: int
    reached: int
    untouched: dict[str, int]

    def __str__(self) -> str:
        """For example "8 of 32 (none in linear_attn of 24)"."""
        share = f"{self.reached} of {self.layers}"
        none = ", ".join(f"{part} of {count}" for part, count in sorted(self.untouched.items()))
        return f"{share} (none in {none})" if none else share


def meta_model(config: PretrainedConfig) -> PreTrainedModel:
    """A configuration's model on the meta device: all modules, without weights."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForImageTextToText.from_config(config)  # type: ignore[no-untyped-call]
    return model


def layers_of(model: Any) -> dict[str, torch.nn.Module]:
    """The language model's layers by name, in order. Raises ValueError where there are none."""
    decoder = model.get_decoder()
    name = next(name for name, module in model.named_modules() if module is decoder)
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList):
        raise ValueError(f"{type(model).__name__}: {type(decoder).__name__} holds no layers")
    return {f"{name}.layers.{n}": layer for n, layer in enumerate(layers)}


def reach_of(model: Any, target: str) -> Reach:
    """How far a pattern for full module names (`lora_target`) covers the language model's layers."""
    layers, reached, untouched = layers_of(model), 0, Counter[str]()
    for name, layer in layers.items():
        missing = [
            part
            for part, names in _parts(layer).items()
            if not any(re.fullmatch(target, f"{name}.{part}.{inner}") for inner in names)
        ]
        untouched.update(missing)
        reached += not missing
    return Reach(len(layers), reached, dict(untouched))


def target_of(model: Any) -> str:
    """A pattern that matches every linear layer in the language model's layers, routers excepted, and no other
    module."""
    layers = layers_of(model)
    names = {inner.rpartition(".")[2] for layer in layers.values() for part in _parts(layer).values() for inner in part}
    holder = next(iter(layers)).removesuffix(".layers.0")
    ending = rf".*\.({'|'.join(sorted(names))})"
    short = f".*{holder.rpartition('.')[2]}{ending}"
    outside = [name for name, module in model.named_modules() if _is_matrix(module) and not name.startswith(holder)]
    return short if not any(re.fullmatch(short, name) for name in outside) else re.escape(holder) + ending


def _parts(layer: torch.nn.Module) -> dict[str, list[str]]:
    """The names of the linear layers in each part of a layer."""
    found = {
        part: [name for name, inner in module.named_modules() if _is_matrix(inner) and _last(name) not in ROUTERS]
        for part, module in layer.named_children()
        if part not in ROUTERS and not _is_matrix(module)
    }
    return {part: names for part, names in found.items() if names}


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _is_matrix(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear)
