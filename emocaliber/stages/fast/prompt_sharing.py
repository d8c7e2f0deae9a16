"""A group's answers share their question: its picture and text go through the model once, not once for each answer. The
recipe key `share_questions`.

In a causal model, what stands before the answers does not depend on them. Where TRL's GRPO and RLOO compute question
and answer of each row, here every question is computed once, in generation and in each pass that reads
log-probabilities, and the answers after it attend to it and to themselves. Rewards, advantages, losses and draws are
TRL's own. For the Qwen-VL family, whose rotary places are three-dimensional; another is left to TRL's own way, and it
is said.

    share_questions: false      # in a recipe: TRL's own way
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from transformers import Trainer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

from emocaliber.stages.fast.families import QWEN, use_attention, vision_holder

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
    (query, asking), (key, keys), (value, values) = (shared.split(tensor) for tensor in (query, key, value))
    begun, _ = sdpa_attention_forward(module, query, key, value, shared.within, **named)
    keys = torch.cat([key[shared.question], keys], dim=2)
    values = torch.cat([value[shared.question], values], dim=2)
    after, _ = sdpa_attention_forward(module, asking, keys, values, shared.across, **named)
    return torch.cat([begun.flatten(0, 1), after.flatten(0, 1)])[None], None


def use_sharing(model: Any) -> bool:
    """Make a model of the Qwen-VL family ready for `shared_line`; another is left alone, said in a line, and False."""
    family = model.config.model_type
    if family not in QWEN:
        reason = f"{family} is not among {', '.join(QWEN)}"
        PartialState().print(f"  each answer computes its question again: {reason}", flush=True)
        return False
    use_attention(model, ATTENTION, shared_attention)
    return True


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
    begin, answered = once["input_ids"][:, : begun - 1], ids[:, begun - 1 : -1]
    goal = ids[:, begun:].masked_fill(batch["attention_mask"][:, begun:] == 0, -100)
    line = {
        "input_ids": torch.cat([begin.flatten(), answered.flatten()])[None],
        "position_ids": torch.cat([places[:, :, :-1].flatten(1), after.flatten(1)], dim=1)[:, None],
        "pixel_values": once["pixel_values"],
        "image_grid_thw": once["image_grid_thw"],
        "shared": shared_of(mask[:, :-1], question, length),
    }
    return line, torch.cat([torch.full_like(begin.flatten(), -100), goal.flatten()])[None]


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


class _Sharing(Trainer):
    """What both trainers do alike; with `share_questions` False, everything is TRL's own way."""

    num_generations: Any
    ref_model: Any

    def __init__(self, *arguments: Any, share_questions: bool = True, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._groups: torch.Tensor | None = None
        model: Any = self.model
        models = [self.accelerator.unwrap_model(each) for each in (model, self.ref_model) if each is not None]
        self._shares = share_questions and all(map(use_sharing, models))
        if self._shares:
            alone = model.generate

            def generate(**batch: Any) -> torch.Tensor:
                if len(batch["input_ids"]) % self.num_generations:  # a group is spread over processes
                    return alone(**batch)  # type: ignore[no-any-return]
                return generate_shared(model, alone, self.num_generations, batch)

            model.generate = generate

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        return made | {"group": self._drawn_groups(len(made["prompt_ids"]))}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._groups = inputs["group"]
        loss: torch.Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
        self._groups = None
        return loss

    def _drawn_groups(self, rows: int) -> torch.Tensor:
        """The groups of this process's rows, in the order in which they are drawn: [rows]."""
        first = self.accelerator.process_index * rows
        return torch.arange(first, first + rows, device=self.accelerator.device) // int(self.num_generations)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **named: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        if not self._shares:
            computed: tuple[torch.Tensor, Any, Any] = super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                model, input_ids, attention_mask, logits_to_keep, batch_size, **named
            )
            return computed
        groups = self._drawn_groups(len(input_ids)) if self._groups is None else self._groups
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "group": groups}
        batch |= {key: named[key] for key in ("mm_token_type_ids", "image_grid_thw", "pixel_values")}
        size = batch_size or len(groups)
        base = self.accelerator.unwrap_model(model)
        logs: list[torch.Tensor] = []
        entropies: list[torch.Tensor | None] = []
        for start in range(0, len(groups), size):
            part = rows_of(batch, torch.arange(start, min(start + size, len(groups)), device=groups.device))
            with self.accelerator.autocast():
                log, entropy = answer_log_probabilities(model, base, part, logits_to_keep)
            logs.append(log)
            entropies.append(entropy)
        known = [entropy for entropy in entropies if entropy is not None]
        return torch.cat(logs), torch.cat(known) if known else None, None


class SharingGRPOTrainer(_Sharing, GRPOTrainer):
    """TRL's GRPO."""


class SharingRLOOTrainer(_Sharing, RLOOTrainer):
    """TRL's RLOO."""
