"""Batches without padding for the Qwen-VL family: all rows' tokens in one line, each attending to its own row alone.

Not TRL's packing, which knows no pictures, and not a change of what is learned: the rows of a batch, their places and
their loss stay what they are; only the padding is not computed, and what all rows begin with is computed once. Places
are Qwen's three-dimensional rotary ones, found for each row before the rows are joined. Attention goes row by row, in
one call of PyTorch's own kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from emocaliber.stages.fast.attention import use_attention
from emocaliber.stages.fast.frozen_vision import vision_holder
from emocaliber.stages.fast.needed import look_at_few, sum_small_lora

ATTENTION = "emocaliber_packed"
ROWS = "rows_of_line"  # the named argument of a model's forward that says how the line is made of rows


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
    # What pads a row stands behind it, so that a causal row never sees it and needs no mask.
    found, _ = sdpa_attention_forward(
        module, spread(query, asking), spread(key, rows_of_line), spread(value, rows_of_line), seen,
        is_causal=seen is None, **named,
    )  # fmt: skip
    line: torch.Tensor = joined(found, asking, query.shape[2])
    return line[None], None


def spread(line: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The line's tokens [1, heads, tokens, width] as rows [rows, heads, length, width]."""
    tokens = line[0].transpose(0, 1).index_select(0, rows.flatten())
    return tokens.view(*rows.shape, *tokens.shape[1:]).transpose(1, 2)


def joined(found: torch.Tensor, rows: torch.Tensor, tokens: int) -> torch.Tensor:
    """Of rows [rows, length, heads, width] the line [tokens, heads, width]: zeros where no row has the token."""
    order = torch.arange(rows.numel(), device=rows.device)
    first = order.new_full((tokens,), rows.numel()).scatter_reduce_(0, rows.flatten(), order, "amin")
    there = first < rows.numel()
    line: torch.Tensor = found.flatten(0, 1).index_select(0, first[there])
    if len(line) == tokens:
        return line
    return line.new_zeros(tokens, *line.shape[1:]).index_copy(0, there.nonzero().flatten(), line)


def seen_by(asked: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Whether a token that is asked [rows, few] sees one of its row [rows, length], which padding repeats."""
    new = torch.nn.functional.pad(rows.diff(dim=1) > 0, (1, 0), value=True)
    return (rows[:, None] <= asked[:, :, None]) & new[:, None]


def use_packing(model: Any, *, whole: bool = True) -> bool:
    """Make a model of the Qwen-VL family ready for `packed`; another is left alone, said in a line, and False.

    Where a process holds a part of the weights alone (`whole` False), LoRA is not summed with them.
    """
    if not use_attention(model, ATTENTION, packed_attention, "packing is off"):
        return False
    look_at_few(model)
    if whole:
        sum_small_lora(model)
    return True


def packed(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The model's inputs for a batch padded on the right, [rows, length], as one line [1, tokens].

    Under ROWS [rows, length], where each token of the batch stands in the line; padding, where its row's last one does.
    """
    inputs = dict(batch)
    mask = inputs.pop("attention_mask").bool()
    ids, kinds = inputs.pop("input_ids"), inputs.pop("mm_token_type_ids")
    places, _ = vision_holder(model).get_rope_index(
        ids, kinds, image_grid_thw=inputs["image_grid_thw"], attention_mask=mask
    )
    kept = mask.clone()
    shared = common_beginning(ids, mask & (kinds == 0))
    kept[1:, :shared] = False
    rows = kept.flatten().cumsum(0).view_as(ids) - 1
    rows[1:, :shared] = rows[0, :shared]
    line = {"input_ids": ids[kept][None], "position_ids": places[:, kept][:, None]}
    return inputs | line | {ROWS: rows}


def common_beginning(ids: torch.Tensor, text: torch.Tensor) -> int:
    """With how many tokens of text, alike in all of them, the rows [rows, length] begin: less than a whole row."""
    alike = ((ids == ids[0]) & text).all(0)
    return min(int(alike.int().cumprod(0).sum()), ids.shape[1] - 1)
