"""Packed batches: all rows of a batch in one sequence without padding, with the same loss and gradients. The recipe key
`packing`, for the model families that `families` knows.

Each row attends to itself alone, and a prefix that all rows share is computed once: a few tokens where the picture
comes first, the whole question where the question does. Gated DeltaNet and convolution layers, whose state would run
on from one row into the next, get the rows unpacked. Position ids are computed for each row before packing. TRL's own
packing does not support images.

The last layer computes queries, attention outputs and MLP only at the positions whose logits the loss needs: after its
attention, no other position affects the loss. LoRA's products are rearranged as well, see `fast.lora`.

    packing: true
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from emocaliber.stages.fast.families import (
    image_token,
    is_qwen,
    language_model,
    refuse_packing,
    use_attention,
    vision_holder,
)
from emocaliber.stages.fast.lora import merge_small_lora, use_bfloat16_lora

ATTENTION = "emocaliber_packed"
PACKED_INDEX = "packed_index"
"""Keyword of a model's forward: where each token of the batch stands in the packed sequence, [rows, length]. A padding
token has the index of its row's last token."""
LOSS_INDEX = "loss_index"
"""Keyword of a model's forward: where in the packed sequence logits are needed, [rows, n], each in its own row."""
QUERY_INDEX = "query_index"
"""The keyword by which the last layer's attention, and no other's, gets LOSS_INDEX."""


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packed_index: torch.Tensor | None = None,
    query_index: torch.Tensor | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row of a packed sequence, [1, heads, tokens, width] to [1, tokens, heads, width].

    Without `packed_index` [rows, length] this is ordinary SDPA attention. With `query_index` [rows, n], only those
    tokens attend; the output is zero everywhere else.
    """
    if packed_index is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **named)
    queries_at, visible = packed_index, None
    if query_index is not None:
        queries_at, visible = query_index, visible_keys(query_index, packed_index)[:, None]
    parts = unpack(query, queries_at), unpack(key, packed_index), unpack(value, packed_index)
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        attended = matmul_attention(*parts, visible, named.get("scaling") or query.shape[-1] ** -0.5)
    else:
        # Padding follows a row's tokens, so causal attention never reaches it and needs no mask.
        attended, _ = sdpa_attention_forward(module, *parts, visible, is_causal=visible is None, **named)
    packed: torch.Tensor = repack(attended, queries_at, query.shape[2])
    return packed[None], None


def matmul_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, visible: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """Causal attention by plain matrix products, [rows, heads, length, width] to [rows, length, heads, width].

    `visible` [rows, 1, queries, length] is the mask where there are fewer queries than keys. On a CPU in bfloat16, the
    fused attention of torch 2.13 takes several times as long for short rows, above all in the backward pass.
    """
    rows, heads, queries, width = query.shape
    groups, length = key.shape[1:3]
    if visible is None:
        visible = torch.ones(queries, length, dtype=torch.bool).tril().expand(rows, 1, -1, -1)
    scores = query.reshape(rows, groups, -1, width) @ key.transpose(2, 3)
    scores = scores.view(rows, heads, queries, length).float() * scaling
    weights = scores.masked_fill(~visible, float("-inf")).softmax(-1).to(value.dtype)
    attended = weights.view(rows, groups, -1, length) @ value
    return attended.view(rows, heads, queries, width).transpose(1, 2)


def unpack(packed: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The tokens of a packed sequence [1, heads, tokens, width] at `index` [rows, n], as [rows, heads, n, width]."""
    tokens = packed[0].transpose(0, 1).index_select(0, index.flatten())
    return tokens.view(*index.shape, *tokens.shape[1:]).transpose(1, 2)


def repack(states: torch.Tensor, index: torch.Tensor, tokens: int) -> torch.Tensor:
    """The packed sequence [tokens, ...] of states [rows, n, ...] that stand at `index` [rows, n] in it: zeros where
    `index` names no row's token, and the first of several states at the same index."""
    order = torch.arange(index.numel(), device=index.device)
    first = order.new_full((tokens,), index.numel()).scatter_reduce_(0, index.flatten(), order, "amin")
    filled = first < index.numel()
    packed: torch.Tensor = states.flatten(0, 1).index_select(0, first[filled])
    if len(packed) == tokens:
        return packed
    return packed.new_zeros(tokens, *packed.shape[1:]).index_copy(0, filled.nonzero().flatten(), packed)


def visible_keys(query_index: torch.Tensor, packed_index: torch.Tensor) -> torch.Tensor:
    """The causal mask [rows, queries, length] of the queries at `query_index` [rows, queries]; padding is masked."""
    is_token = torch.nn.functional.pad(packed_index.diff(dim=1) > 0, (1, 0), value=True)
    return (packed_index[:, None] <= query_index[:, :, None]) & is_token[:, None]


def use_packing(model: Any, *, sharded: bool = False) -> None:
    """Patch a model of a known family to take what `pack_batch` makes. Raises UserError for another family.

    With `sharded`, where each process holds only a part of the weights, LoRA is left as it is.
    """
    refuse_packing(model.config.model_type)
    use_attention(model, ATTENTION, packed_attention)
    unpack_for_recurrent_layers(model)
    restrict_last_layer(model)
    if model.config.model_type == "internvl" and model.device.type == "cpu" and model.dtype == torch.bfloat16:
        # For the same reason as matmul_attention.
        vision_holder(model).vision_tower.config._attn_implementation = "eager"
    if not sharded:
        merge_small_lora(model)
        use_bfloat16_lora(model)


def pack_batch(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The model's inputs for a batch [rows, length] that is padded on the right, as one sequence [1, tokens]; with
    PACKED_INDEX [rows, length] beside them."""
    inputs = dict(batch)
    mask = inputs.pop("attention_mask").bool()
    ids, token_types = inputs.pop("input_ids"), inputs.pop("mm_token_type_ids", None)
    if is_qwen(model):
        position_ids, _ = vision_holder(model).get_rope_index(
            ids, token_types, image_grid_thw=inputs["image_grid_thw"], attention_mask=mask
        )
    else:
        position_ids = (mask.cumsum(-1) - 1)[None]
    computed = mask.clone()
    shared = common_prefix_length(ids, mask & (ids != image_token(model)))
    computed[1:, :shared] = False
    index = computed.flatten().cumsum(0).view_as(ids) - 1
    index[1:, :shared] = index[0, :shared]
    packed = {"input_ids": ids[computed][None], "position_ids": position_ids[:, computed]}
    if is_qwen(model):
        packed["position_ids"] = packed["position_ids"][:, None]
    return inputs | packed | {PACKED_INDEX: index}


def common_prefix_length(ids: torch.Tensor, is_text: torch.Tensor) -> int:
    """The length of the longest prefix of text tokens that all rows [rows, length] share, less than a whole row."""
    alike = ((ids == ids[0]) & is_text).all(0)
    return min(int(alike.int().cumprod(0).sum()), ids.shape[1] - 1)


def unpack_for_recurrent_layers(model: Any) -> None:
    """Hook the layers that mix tokens otherwise than by attention (Gated DeltaNet, short convolution), whose state
    would run on from one row of a packed sequence into the next, so that they see the rows unpacked."""
    for layer in language_model(model).layers:
        for name in ("linear_attn", "conv"):
            hooked = any(isinstance(hook, _UnpackedMixer) for hook in layer._forward_pre_hooks.values())
            if name in layer._modules and not hooked:
                mixer = _UnpackedMixer()
                layer.register_forward_pre_hook(mixer, with_kwargs=True)
                layer.get_submodule(name).register_forward_pre_hook(mixer.unpack, with_kwargs=True)
                layer.get_submodule(name).register_forward_hook(mixer.repack)


class _UnpackedMixer:
    """Hooks of a layer and its token mixer: the mixer gets rows [rows, length, width], the layer a packed sequence.

    No mask is needed: padding follows a row's tokens, and `repack` keeps the first state at an index, so that padding,
    which has the index of the last token, is dropped.
    """

    def __init__(self) -> None:
        self.index: torch.Tensor | None = None
        self.tokens = 0

    def __call__(self, layer: torch.nn.Module, arguments: tuple[torch.Tensor, ...], named: dict[str, Any]) -> None:
        self.index = named.get(PACKED_INDEX)
        self.tokens = (arguments[0] if arguments else named["hidden_states"]).shape[1]

    def unpack(self, mixer: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self.index is None:
            return arguments, named
        return (), {"hidden_states": named["hidden_states"][0][self.index]}

    def repack(self, mixer: torch.nn.Module, arguments: tuple[Any, ...], outputs: torch.Tensor) -> torch.Tensor:
        return outputs if self.index is None else repack(outputs, self.index, self.tokens)[None]


TOKENWISE = ("self_attn.q_proj", "self_attn.o_proj", "self_attn.out_proj", "mlp", "feed_forward")
"""Modules of a layer that compute each token by itself and whose output at a token affects no other token's."""


def restrict_last_layer(model: Any) -> None:
    """Hook the last layer of a known family to take LOSS_INDEX: its output is then correct at those tokens only."""
    layer = language_model(model).layers[-1]
    if any(isinstance(hook, _RestrictedLayer) for hook in layer._forward_pre_hooks.values()):
        return
    restricted = _RestrictedLayer()
    layer.register_forward_pre_hook(restricted, with_kwargs=True)
    for module in (module for name, module in layer.named_modules() if name in TOKENWISE):
        module.register_forward_pre_hook(restricted.gather)
        module.register_forward_hook(restricted.scatter)


class _RestrictedLayer:
    """Hooks of the last layer: its tokenwise modules get the tokens at LOSS_INDEX only, and their outputs are scattered
    back, with zeros elsewhere.

    The index arrives with each call of the layer, so that gradient checkpointing recomputes the same tokens.
    """

    def __init__(self) -> None:
        self.index: torch.Tensor | None = None
        self.tokens = 0

    def __call__(self, layer: torch.nn.Module, arguments: tuple[torch.Tensor, ...], named: dict[str, Any]) -> Any:
        loss_index = named.get(LOSS_INDEX)
        self.index = None if loss_index is None else loss_index.unique()
        self.tokens = (arguments[0] if arguments else named["hidden_states"]).shape[1]
        return arguments, named | {QUERY_INDEX: loss_index}

    def gather(self, module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return arguments if self.index is None else (arguments[0][:, self.index], *arguments[1:])

    def scatter(
        self, module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], outputs: torch.Tensor
    ) -> torch.Tensor:
        if self.index is None:
            return outputs
        return outputs.new_zeros(1, self.tokens, outputs.shape[-1]).index_copy(1, self.index, outputs)
