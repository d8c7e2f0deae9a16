"""A group's answers share their question: its picture and text go through the model once, not once for each answer.

Not an approximation: in a causal model, what stands before the answers does not depend on them. Where TRL computes
question and answer of each row, here every question is computed once, in generation and in each pass that reads
log-probabilities, and the answers after it attend to it and to themselves. For the Qwen-VL family, whose rotary places
are three-dimensional; another is left to TRL's own way, and it is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from emocaliber.stages.fast.attention import use_attention
from emocaliber.stages.fast.frozen_vision import vision_holder

ATTENTION = "emocaliber_shared"


@dataclass(frozen=True)
class Shared:
    """How a line of tokens is made of questions [questions, tokens] and, behind them, answers [answers, tokens].

    `question` [answers] is each answer's; `within` [questions, 1, tokens, tokens] and `across` [answers, 1, tokens,
    question's tokens + tokens] say what a token sees.
    """

    question: torch.Tensor
    within: torch.Tensor
    across: torch.Tensor

    def split(self, line: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[1, heads, tokens, width] to [questions, heads, tokens, width] and [answers, heads, tokens, width]."""
        questions, answers = (self.within.shape[0], self.within.shape[2]), (self.across.shape[0], self.across.shape[2])
        begun, after = line[0].split((questions[0] * questions[1], answers[0] * answers[1]), dim=1)
        return begun.unflatten(1, questions).transpose(0, 1), after.unflatten(1, answers).transpose(0, 1)


def shared_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    shared: Shared | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of questions to themselves, of answers to their question and themselves: [1, tokens, heads, width].

    Without `shared`, this is the usual attention.
    """
    if shared is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **named)
    (query, asking), (key, keys), (value, values) = (shared.split(one) for one in (query, key, value))
    begun, _ = sdpa_attention_forward(module, query, key, value, shared.within, **named)
    keys = torch.cat([key[shared.question], keys], dim=2)
    values = torch.cat([value[shared.question], values], dim=2)
    after, _ = sdpa_attention_forward(module, asking, keys, values, shared.across, **named)
    return torch.cat([begun.flatten(0, 1), after.flatten(0, 1)])[None], None


def use_sharing(model: Any) -> bool:
    """Make a model of the Qwen-VL family ready for `shared_line`; another is left alone, said in a line, and False."""
    return use_attention(model, ATTENTION, shared_attention, "each answer computes its question again")


def answer_log_probabilities(
    model: Any, base: Any, batch: dict[str, torch.Tensor], length: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The log-probabilities of the answers' tokens and the entropies where they stand: [answers, length] each; None for
    the entropies of a model whose head gives none, as that of TRL's reference.

    `batch` is TRL's: questions padded on the left, then answers of `length` tokens padded on the right, as `input_ids`,
    `attention_mask` and `mm_token_type_ids` [answers, tokens]; `pixel_values` and `image_grid_thw` of one picture each;
    `group` [answers], the same number for answers to the same question. `model` has TRL's fused head; `base` is the
    same without what a launcher wraps around it.
    """
    line, goal = shared_line(base, batch, length)
    outputs = model(**line, shift_labels=goal, fused_lm_head=True)
    shape = len(batch["group"]), length
    last = shape[0] * shape[1]
    entropy = outputs.entropy
    return outputs.log_probs[0, -last:].view(shape), None if entropy is None else entropy[0, -last:].view(shape)


def shared_line(model: Any, batch: dict[str, torch.Tensor], length: int) -> tuple[dict[str, Any], torch.Tensor]:
    """The model's inputs for a batch as one line, each question once, all answers behind; and what it foretells.

    A question's last token stands before each of its answers, since it foretells their first. The second value holds
    the next tokens [1, tokens of the line], -100 where none is an answer's.
    """
    _, question = batch["group"].unique(return_inverse=True)
    first = torch.stack([(question == n).nonzero()[0, 0] for n in range(int(question.max()) + 1)])
    once, ids = rows_of(batch, first), batch["input_ids"]
    begun = ids.shape[1] - length
    mask = once["attention_mask"][:, :begun].bool()
    places, _ = vision_holder(model).get_rope_index(
        once["input_ids"][:, :begun],
        once["mm_token_type_ids"][:, :begun],
        image_grid_thw=once["image_grid_thw"],
        attention_mask=mask,
    )
    after = places[:, question, -1:] + torch.arange(length, device=ids.device)
    asked, answered = once["input_ids"][:, : begun - 1], ids[:, begun - 1 : -1]
    goal = ids[:, begun:].masked_fill(batch["attention_mask"][:, begun:] == 0, -100)
    line = {
        "input_ids": torch.cat([asked.flatten(), answered.flatten()])[None],
        "position_ids": torch.cat([places[:, :, :-1].flatten(1), after.flatten(1)], dim=1)[:, None],
        "pixel_values": once["pixel_values"],
        "image_grid_thw": once["image_grid_thw"],
        "shared": shared_of(mask[:, :-1], question, length),
    }
    return line, torch.cat([torch.full_like(asked.flatten(), -100), goal.flatten()])[None]


def shared_of(begun: torch.Tensor, question: torch.Tensor, length: int) -> Shared:
    """Who sees whom, where `begun` [questions, tokens] is true for the questions' tokens and false for padding."""
    tokens = begun.shape[1]
    itself = torch.eye(tokens, dtype=torch.bool, device=begun.device)  # a token that sees nothing would be nan
    within = torch.ones_like(itself).tril() & begun[:, None, :] | itself
    own = torch.ones(length, length, dtype=torch.bool, device=begun.device).tril().expand(len(question), -1, -1)
    across = torch.cat([begun[question][:, None, :].expand(-1, length, -1), own], dim=2)
    return Shared(question, within[:, None], across[:, None])


def rows_of(batch: dict[str, torch.Tensor], rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Some rows of a batch in which each has one picture, whose patches stand one after the other."""
    patches = batch["pixel_values"].split(batch["image_grid_thw"].prod(-1).tolist())
    chosen = {key: value[rows] for key, value in batch.items() if key != "pixel_values"}
    return chosen | {"pixel_values": torch.cat([patches[n] for n in rows.tolist()])}


@torch.no_grad()
def generate_shared(
    model: Any, generate: Callable[..., torch.Tensor], copies: int, batch: dict[str, Any]
) -> torch.Tensor:
    """`generate`, the model's own, for rows of which each `copies` in a row are one question, gone through once."""
    rows = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
    once = rows_of(rows, torch.arange(0, len(rows["input_ids"]), copies, device=rows["input_ids"].device))
    for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
        once[key] = once[key][:, :-1]
    cache, holder = model(**once, use_cache=True, logits_to_keep=1).past_key_values, vision_holder(model)
    cache.batch_repeat_interleave(copies)
    holder.rope_deltas = holder.rope_deltas.repeat_interleave(copies, dim=0)
    pictures = {"mm_token_type_ids", "pixel_values", "image_grid_thw"}
    return generate(**{key: value for key, value in batch.items() if key not in pictures}, past_key_values=cache)
