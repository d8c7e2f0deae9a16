"""Less work in a training step, with the same loss and gradients: the recipe key `packing`. For the families that
`families` knows.

Batches without padding: all rows' tokens in one line, each attending to its own row alone, what all rows begin with
computed once: little where the picture comes first, the question where it comes first. A Gated DeltaNet or a
convolution goes through each row by itself. The rows of a batch, their
places (found for each row before the rows are joined) and their loss stay what they are. TRL's own packing knows no
pictures.

The last layer where the loss looks: behind its attention nothing mixes tokens, so that its other tokens' queries,
outputs and feed-forward go nowhere. LoRA as one sum, (W + s B A) x = W x + s B (A x), where W is small and float32: one
product of matrices and their gradients are less work than three. Where autocast computes in bfloat16, LoRA without a
way through float32 and back.

    packing: true
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch.nn import functional as F
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from emocaliber.stages.fast.families import (
    image_token,
    is_qwen,
    language_model,
    refuse_packing,
    use_attention,
    vision_holder,
)

ATTENTION = "emocaliber_packed"
ROWS = "rows_of_line"  # the named argument of a model's forward that says how the line is made of rows
LOOKED_AT = "looked_at"  # the named argument of a model's forward: places in a line [1, tokens], by row, [rows, few]
ASKED = "asked_of_line"  # the last layer's attention is told them by this name


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    rows_of_line: torch.Tensor | None = None,
    asked_of_line: torch.Tensor | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row of a line of rows, [1, heads, tokens, width] to [1, tokens, heads, width].

    `rows_of_line` [rows, length] as in `packed`; without it, this is the usual attention. Where `asked_of_line`
    [rows, few] is given, tokens of the line, each of its row, the others' attention is zeros.
    """
    if rows_of_line is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **named)
    asking, seen = rows_of_line, None
    if asked_of_line is not None:
        asking, seen = asked_of_line, seen_by(asked_of_line, rows_of_line)[:, None]
    parts = spread(query, asking), spread(key, rows_of_line), spread(value, rows_of_line)
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        attended = short_attention(*parts, seen, named.get("scaling") or query.shape[-1] ** -0.5)
    else:
        # What pads a row stands behind it, so that a causal row never sees it and needs no mask.
        attended, _ = sdpa_attention_forward(module, *parts, seen, is_causal=seen is None, **named)
    line: torch.Tensor = joined(attended, asking, query.shape[2])
    return line[None], None


def short_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """Causal attention of short rows by products of matrices, [rows, heads, length, width] to [rows, length, heads,
    width]; `seen` [rows, 1, asking, length] where not every token asks.

    torch 2.13's fused attention on a CPU takes several times as long in bfloat16, backward above all.
    """
    rows, heads, asking, width = query.shape
    groups, length = key.shape[1:3]
    if seen is None:
        seen = torch.ones(asking, length, dtype=torch.bool).tril().expand(rows, 1, -1, -1)
    scores = query.reshape(rows, groups, -1, width) @ key.transpose(2, 3)
    scores = scores.view(rows, heads, asking, length).float() * scaling
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1).to(value.dtype)
    attended = weights.view(rows, groups, -1, length) @ value
    return attended.view(rows, heads, asking, width).transpose(1, 2)


def spread(line: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The line's tokens [1, heads, tokens, width] as rows [rows, heads, length, width]."""
    tokens = line[0].transpose(0, 1).index_select(0, rows.flatten())
    return tokens.view(*rows.shape, *tokens.shape[1:]).transpose(1, 2)


def joined(states: torch.Tensor, rows: torch.Tensor, tokens: int) -> torch.Tensor:
    """Of rows [rows, length, ...] the line [tokens, ...]: zeros where no row has the token."""
    order = torch.arange(rows.numel(), device=rows.device)
    first = order.new_full((tokens,), rows.numel()).scatter_reduce_(0, rows.flatten(), order, "amin")
    there = first < rows.numel()
    line: torch.Tensor = states.flatten(0, 1).index_select(0, first[there])
    if len(line) == tokens:
        return line
    return line.new_zeros(tokens, *line.shape[1:]).index_copy(0, there.nonzero().flatten(), line)


def seen_by(places: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Whether a token that is asked [rows, few] sees one of its row [rows, length], which padding repeats."""
    new = torch.nn.functional.pad(rows.diff(dim=1) > 0, (1, 0), value=True)
    return (rows[:, None] <= places[:, :, None]) & new[:, None]


def use_packing(model: Any, *, sharded: bool = False) -> None:
    """Make a model of a known family ready for `packed`. Raises UserError for another.

    Where a process holds a part of the weights alone (`sharded`), LoRA is not summed with them.
    """
    refuse_packing(model.config.model_type)
    use_attention(model, ATTENTION, packed_attention)
    mix_apart(model)
    look_at_few(model)
    if model.config.model_type == "internvl" and model.device.type == "cpu" and model.dtype == torch.bfloat16:
        vision_holder(model).vision_tower.config._attn_implementation = "eager"  # as short_attention
    if not sharded:
        sum_small_lora(model)
        shorten_lora(model)


def packed(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The model's inputs for a batch padded on the right, [rows, length], as one line [1, tokens].

    Under ROWS [rows, length], where each token of the batch stands in the line; padding, where its row's last one does.
    """
    inputs = dict(batch)
    mask = inputs.pop("attention_mask").bool()
    ids, kinds = inputs.pop("input_ids"), inputs.pop("mm_token_type_ids", None)
    if is_qwen(model):
        places, _ = vision_holder(model).get_rope_index(
            ids, kinds, image_grid_thw=inputs["image_grid_thw"], attention_mask=mask
        )
    else:
        places = (mask.cumsum(-1) - 1)[None]
    computed = mask.clone()
    shared = common_beginning(ids, mask & (ids != image_token(model)))
    computed[1:, :shared] = False
    rows = computed.flatten().cumsum(0).view_as(ids) - 1
    rows[1:, :shared] = rows[0, :shared]
    line = {"input_ids": ids[computed][None], "position_ids": places[:, computed]}
    if is_qwen(model):
        line["position_ids"] = line["position_ids"][:, None]
    return inputs | line | {ROWS: rows}


def common_beginning(ids: torch.Tensor, text: torch.Tensor) -> int:
    """With how many tokens of text, alike in all of them, the rows [rows, length] begin: less than a whole row."""
    alike = ((ids == ids[0]) & text).all(0)
    return min(int(alike.int().cumprod(0).sum()), ids.shape[1] - 1)


def mix_apart(model: Any) -> None:
    """Let the layers that mix otherwise than by attention (Gated DeltaNet, short convolution) take each row by itself.

    Their state would run on from row to row of a line.
    """
    for layer in language_model(model).layers:
        for name in ("linear_attn", "conv"):
            if name in layer._modules and not any(isinstance(h, _Apart) for h in layer._forward_pre_hooks.values()):
                apart = _Apart()
                layer.register_forward_pre_hook(apart, with_kwargs=True)
                layer.get_submodule(name).register_forward_pre_hook(apart.spread, with_kwargs=True)
                layer.get_submodule(name).register_forward_hook(apart.join)


class _Apart:
    """Hooks of a layer and what mixes in it: a line goes in as rows [rows, length, width], and comes out as a line.

    What pads a row stands behind it and its last token comes first where it is found again, so that no mask is needed.
    """

    def __init__(self) -> None:
        self.rows: torch.Tensor | None = None
        self.tokens = 0

    def __call__(self, layer: torch.nn.Module, arguments: tuple[torch.Tensor, ...], named: dict[str, Any]) -> None:
        self.rows = named.get(ROWS)
        self.tokens = (arguments[0] if arguments else named["hidden_states"]).shape[1]

    def spread(self, mixer: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self.rows is None:
            return arguments, named
        return (), {"hidden_states": named["hidden_states"][0][self.rows]}

    def join(self, mixer: torch.nn.Module, arguments: tuple[Any, ...], outputs: torch.Tensor) -> torch.Tensor:
        return outputs if self.rows is None else joined(outputs, self.rows, self.tokens)[None]


FEW = ("self_attn.q_proj", "self_attn.o_proj", "self_attn.out_proj", "mlp", "feed_forward")


def look_at_few(model: Any) -> None:
    """Let a model of a known family take `looked_at`: its hidden states are right at those places of the line alone."""
    layer = language_model(model).layers[-1]
    if any(isinstance(hook, _Few) for hook in layer._forward_pre_hooks.values()):
        return
    few = _Few()
    layer.register_forward_pre_hook(few, with_kwargs=True)
    for part in (part for name, part in layer.named_modules() if name in FEW):
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

    def spread(self, part: torch.nn.Module, arguments: tuple[torch.Tensor, ...], outputs: torch.Tensor) -> torch.Tensor:
        if self.places is None:
            return outputs
        return outputs.new_zeros(1, self.tokens, outputs.shape[-1]).index_copy(1, self.places, outputs)


def sum_small_lora(model: torch.nn.Module) -> None:
    """Let LoRA's layers multiply by W + s B A where that is less work.

    In float32 alone: in a shorter type the sum would be rounded. Not where there is dropout, a quantised weight or a
    variant of LoRA.
    """
    small: list[Any] = [module for module in model.modules() if isinstance(module, Linear) and _is_small(module)]
    for layer in small:
        if not isinstance(layer.forward, _Sum):
            layer.forward = _Sum(layer)


def _is_plain(layer: Linear, dtype: torch.dtype) -> bool:
    """LoRA on a matrix of this type, without dropout or a variant, and no second adapter."""
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


def shorten_lora(model: torch.nn.Module) -> None:
    """Let LoRA's layers on weights in bfloat16 compute in it as autocast would have them, with one sum at the end."""
    for layer in model.modules():
        if isinstance(layer, Linear) and _is_plain(layer, torch.bfloat16) and not isinstance(layer.forward, _Short):
            layer.forward = _Short(layer)  # type: ignore[method-assign]


class _Short:
    """In the place of a LoRA layer's forward, which goes on without autocast and where the adapter is off or merged."""

    def __init__(self, layer: Linear) -> None:
        self.layer, self.alone = layer, layer.forward

    def __call__(self, x: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        layer = self.layer
        off = layer.disable_adapters or layer.merged or layer.active_adapters != ["default"]
        if arguments or named or off or not torch.is_autocast_enabled(x.device.type):
            return self.alone(x, *arguments, **named)
        base: Any = layer.get_base_layer()
        a: Any = layer.lora_A["default"].weight
        b: Any = layer.lora_B["default"].weight
        frozen = base(x)
        low = F.linear(x, a)
        added = torch.addmm(frozen.flatten(0, -2), low.flatten(0, -2), b.t(), alpha=layer.scaling["default"])
        return added.view_as(frozen)
