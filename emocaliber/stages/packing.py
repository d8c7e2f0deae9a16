"""Batches without padding for the Qwen-VL family: all rows' tokens in one line, each attending to its own row alone.

Not TRL's packing, which knows no pictures, and not a change of what is learned: the rows of a batch, their places and
their loss stay what they are; only the padding is not computed. Places are Qwen's three-dimensional rotary ones, found
for each row before the rows are joined. Attention goes row by row, in one call of PyTorch's own kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from emocaliber.backbones.attention import use_attention
from emocaliber.backbones.frozen_vision import vision_holder
from emocaliber.stages.needed import look_at_few, sum_small_lora

ATTENTION = "emocaliber_packed"


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row of a line of rows, [1, heads, tokens, width] to [1, tokens, heads, width].

    `cu_seq_lens_q` [rows + 1] is where each row begins, and the last one ends; without it, this is the usual attention.
    """
    if cu_seq_lens_q is None or max_length_q is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **named)
    places = padded_places(cu_seq_lens_q, max_length_q)
    rows = len(cu_seq_lens_q) - 1

    def spread(line: torch.Tensor) -> torch.Tensor:
        tokens = line[0].transpose(0, 1)
        empty = tokens.new_zeros(rows * max_length_q, *tokens.shape[1:])
        padded: torch.Tensor = empty.index_copy(0, places, tokens).unflatten(0, (rows, max_length_q))
        return padded.transpose(1, 2)

    # What pads a row stands behind it, so that a causal row never sees it and needs no mask.
    seen, _ = sdpa_attention_forward(module, spread(query), spread(key), spread(value), None, is_causal=True, **named)
    return seen.flatten(0, 1)[places][None], None


def padded_places(begins: torch.Tensor, longest: int) -> torch.Tensor:
    """For each token of the line, its place in the rows padded to `longest` and put one after the other: [tokens]."""
    lengths = begins.diff()
    row = torch.repeat_interleave(torch.arange(len(lengths), device=begins.device), lengths)
    return torch.arange(len(row), device=begins.device) - begins[row] + row * longest


def use_packing(model: Any) -> bool:
    """Make a model of the Qwen-VL family ready for `packed`; another is left alone, said in a line, and False."""
    if not use_attention(model, ATTENTION, packed_attention, "packing is off"):
        return False
    look_at_few(model)
    sum_small_lora(model)
    return True


def packed(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The model's inputs for a batch padded on the right, [rows, length], as one line [1, tokens]."""
    inputs = dict(batch)
    mask = inputs.pop("attention_mask").bool()
    ids, kinds = inputs.pop("input_ids"), inputs.pop("mm_token_type_ids")
    places, _ = vision_holder(model).get_rope_index(
        ids, kinds, image_grid_thw=inputs["image_grid_thw"], attention_mask=mask
    )
    begins = row_begins(mask)
    longest = int(mask.sum(1).max())
    ends = {"cu_seq_lens_q": begins, "cu_seq_lens_k": begins, "max_length_q": longest, "max_length_k": longest}
    line = {"input_ids": ids[mask][None], "position_ids": places[:, mask][:, None]}
    return inputs | line | ends


def row_begins(mask: torch.Tensor) -> torch.Tensor:
    """Where each row begins in the line, and at last where the last one ends: [rows + 1]."""
    return torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0)).to(torch.int32)


def line_places(mask: torch.Tensor, kept: int) -> torch.Tensor:
    """Where the places from `kept` to the last but one of each row stand in the line: [rows, length - 1 - kept].

    A place behind a row's end stands for its last.
    """
    wanted = torch.arange(kept, mask.shape[1] - 1, device=mask.device)[None]
    lengths = mask.sum(1, keepdim=True)
    return row_begins(mask)[:-1, None] + torch.minimum(wanted, lengths - 1)
