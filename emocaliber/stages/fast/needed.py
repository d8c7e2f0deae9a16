"""Less work in a training step, with the same loss and gradients: the last layer where the loss looks, LoRA as one sum.

Not an approximation. Behind the last layer's attention nothing mixes tokens, so that its other tokens' queries, outputs
and feed-forward go nowhere. And (W + s B A) x is W x + s B (A x): where W is small, one product of matrices and their
gradients are less work than three.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch.nn import functional as F

from emocaliber.stages.fast.frozen_vision import vision_holder

LOOKED_AT = "looked_at"  # the named argument of a model's forward: places in a line [1, tokens], by row, [rows, few]
ASKED = "asked_of_line"  # the last layer's attention is told them by this name


def look_at_few(model: Any) -> None:
    """Let a Qwen-VL model take `looked_at`: its hidden states are right at those places of the line alone."""
    layer = vision_holder(model).language_model.layers[-1]
    if any(isinstance(hook, _Few) for hook in layer._forward_pre_hooks.values()):
        return
    few = _Few()
    layer.register_forward_pre_hook(few, with_kwargs=True)
    for part in (layer.self_attn.q_proj, layer.self_attn.o_proj, layer.mlp):
        part.register_forward_pre_hook(few.gather)
        part.register_forward_hook(few.spread)


class _Few:
    """Hooks of the last layer: what comes in is cut to the places, what goes out stands at them, with zeros between.

    The places come with each call of the layer, so that one that is recomputed for its gradients is cut alike.
    """

    def __init__(self) -> None:
        self.places: torch.Tensor | None = None
        self.tokens = 0

    def __call__(self, layer: torch.nn.Module, arguments: tuple[torch.Tensor, ...], named: dict[str, Any]) -> Any:
        places = named.get(LOOKED_AT)
        self.places = None if places is None else places.unique()
        self.tokens = (arguments[0] if arguments else named["hidden_states"]).shape[1]
        return arguments, named | {ASKED: places}

    def gather(self, part: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return arguments if self.places is None else (arguments[0][:, self.places], *arguments[1:])

    def spread(self, part: torch.nn.Module, arguments: tuple[torch.Tensor, ...], found: torch.Tensor) -> torch.Tensor:
        if self.places is None:
            return found
        return found.new_zeros(1, self.tokens, found.shape[-1]).index_copy(1, self.places, found)


def sum_small_lora(model: torch.nn.Module) -> None:
    """Let LoRA's layers multiply by W + s B A where that is less work.

    In float32 alone: in a shorter type the sum would be rounded. Not where there is dropout, a quantised weight or a
    variant of LoRA.
    """
    small: list[Any] = [one for one in model.modules() if isinstance(one, Linear) and _is_small(one)]
    for layer in small:
        if not isinstance(layer.forward, _Sum):
            layer.forward = _Sum(layer)


def _is_small(layer: Linear) -> bool:
    weight: Any = layer.get_base_layer().weight
    if weight.dtype != torch.float32 or weight.dim() != 2 or layer.lora_variant or list(layer.lora_A) != ["default"]:
        return False
    if not isinstance(layer.lora_dropout["default"], torch.nn.Identity):
        return False
    rank = layer.r["default"]
    return bool(weight.numel() <= 3 * rank * sum(weight.shape))  # forward, and backward to the input and the weights


class _Sum:
    """In the place of a LoRA layer's forward, which goes on where the adapter is off or merged."""

    def __init__(self, layer: Linear) -> None:
        self.layer, self.alone = layer, layer.forward

    def __call__(self, x: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        layer = self.layer
        if arguments or named or layer.disable_adapters or layer.merged or layer.active_adapters != ["default"]:
            return self.alone(x, *arguments, **named)
        base: Any = layer.get_base_layer()
        a: Any = layer.lora_A["default"].weight
        b: Any = layer.lora_B["default"].weight
        return F.linear(x, torch.addmm(base.weight, b, a, alpha=layer.scaling["default"]), base.bias)
