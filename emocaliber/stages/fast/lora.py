"""Cheaper LoRA layers with the same gradients up to rounding: part of the recipe key `packing`.

Small matrices in float32: (W + sBA)x instead of Wx + sB(Ax), one matrix product and its gradients instead of three.
Frozen weights in bfloat16 under autocast: LoRA's products in bfloat16 too, without PEFT's casts to float32 and back.
Both patch `forward` and fall back to PEFT's own where they do not apply.

    merge_small_lora(model)
    use_bfloat16_lora(model)
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch.nn import functional as F


def merge_small_lora(model: torch.nn.Module) -> None:
    """Compute (W + sBA)x in the LoRA layers in which that is less work.

    Only in float32, since a shorter type would round the sum; not with dropout, quantised weights or a LoRA variant.
    """
    small: list[Any] = [module for module in model.modules() if isinstance(module, Linear) and _is_small(module)]
    for layer in small:
        if not isinstance(layer.forward, _MergedForward):
            layer.forward = _MergedForward(layer)


def _is_plain(layer: Linear, dtype: torch.dtype) -> bool:
    """Whether this is a single LoRA adapter on a matrix of `dtype`, without dropout and no variant of LoRA."""
    weight: Any = layer.get_base_layer().weight
    if weight.dtype != dtype or weight.dim() != 2 or layer.lora_variant or list(layer.lora_A) != ["default"]:
        return False
    return isinstance(layer.lora_dropout["default"], torch.nn.Identity)


def _is_small(layer: Linear) -> bool:
    if not _is_plain(layer, torch.float32):
        return False
    weight: Any = layer.get_base_layer().weight
    rank = layer.r["default"]
    return bool(weight.numel() <= 3 * rank * sum(weight.shape))  # forward, and backward to the input and the weights


def _is_off(layer: Linear) -> bool:
    """Whether the adapter is disabled, merged into the weights, or not the active one."""
    return bool(layer.disable_adapters or layer.merged or layer.active_adapters != ["default"])


class _MergedForward:
    """Replaces a LoRA layer's forward; falls back to it where the adapter is off or merged."""

    def __init__(self, layer: Linear) -> None:
        self.layer, self.original = layer, layer.forward

    def __call__(self, x: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        layer = self.layer
        if arguments or named or _is_off(layer):
            return self.original(x, *arguments, **named)
        base: Any = layer.get_base_layer()
        a: Any = layer.lora_A["default"].weight
        b: Any = layer.lora_B["default"].weight
        return F.linear(x, torch.addmm(base.weight, b, a, alpha=layer.scaling["default"]), base.bias)


def use_bfloat16_lora(model: torch.nn.Module) -> None:
    """Under autocast, compute LoRA on bfloat16 weights in bfloat16, adding it to the frozen output in one product."""
    for layer in model.modules():
        if (
            isinstance(layer, Linear)
            and _is_plain(layer, torch.bfloat16)
            and not isinstance(layer.forward, _Bfloat16Forward)
        ):
            layer.forward = _Bfloat16Forward(layer)  # type: ignore[method-assign]


class _Bfloat16Forward:
    """Replaces a LoRA layer's forward; falls back to it without autocast and where the adapter is off or merged."""

    def __init__(self, layer: Linear) -> None:
        self.layer, self.original = layer, layer.forward

    def __call__(self, x: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        layer = self.layer
        if arguments or named or _is_off(layer) or not torch.is_autocast_enabled(x.device.type):
            return self.original(x, *arguments, **named)
        base: Any = layer.get_base_layer()
        a: Any = layer.lora_A["default"].weight
        b: Any = layer.lora_B["default"].weight
        frozen = base(x)
        low_rank = F.linear(x, a)
        total = torch.addmm(frozen.flatten(0, -2), low_rank.flatten(0, -2), b.t(), alpha=layer.scaling["default"])
        return total.view_as(frozen)
