"""Prompt sharing for GRPO and RLOO: a question goes through the model once for all answers of its group. The recipe key
`share_questions`.

In a causal model the hidden states of a question do not depend on the answer that follows. TRL computes question and
answer of every row; here each question is computed once, in generation and in every pass that reads log-probabilities,
and each answer attends to its question and to itself. Rewards, advantages, losses and samples are TRL's own. For the
Qwen-VL family; other families train as TRL does, and a printed line says so.

    share_questions: false      # in a recipe: every row by itself, as TRL does
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
    """The layout of a shared sequence: questions [questions, tokens], then answers [answers, tokens], flattened.

    `question` [answers] is the number of each answer's question. Masks, true where a token is visible:
    `question_mask` [questions, 1, tokens, tokens] and `answer_mask` [answers, 1, tokens, question's tokens + tokens].
    """

    question: torch.Tensor
    question_mask: torch.Tensor
    answer_mask: torch.Tensor

    def split(self, sequence: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[1, heads, tokens, width] to [questions, heads, tokens, width] and [answers, heads, tokens, width]."""
        questions = self.question_mask.shape[0], self.question_mask.shape[2]
        answers = self.answer_mask.shape[0], self.answer_mask.shape[2]
        asked, answered = sequence[0].split((questions[0] * questions[1], answers[0] * answers[1]), dim=1)
        return asked.unflatten(1, questions).transpose(0, 1), answered.unflatten(1, answers).transpose(0, 1)


def shared_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    shared: Shared | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention in which an answer sees its question and itself, [1, heads, tokens, width] to [1, tokens, heads,
    width]. Without `shared` this is ordinary SDPA attention.
    """
    if shared is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **named)
    (query, answer_query), (key, answer_key), (value, answer_value) = map(shared.split, (query, key, value))
    of_questions, _ = sdpa_attention_forward(module, query, key, value, shared.question_mask, **named)
    keys = torch.cat([key[shared.question], answer_key], dim=2)
    values = torch.cat([value[shared.question], answer_value], dim=2)
    of_answers, _ = sdpa_attention_forward(module, answer_query, keys, values, shared.answer_mask, **named)
    return torch.cat([of_questions.flatten(0, 1), of_answers.flatten(0, 1)])[None], None


def use_sharing(model: Any) -> bool:
    """Patch a Qwen-VL model to take what `shared_batch` makes; for other families, print why not and return False."""
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
    """The answers' token log-probabilities and entropies, [answers, length] each; the entropies are None for a model
    whose head computes none, such as TRL's reference model.

    `batch` is TRL's: questions padded on the left, then answers of `length` tokens padded on the right, as `input_ids`,
    `attention_mask` and `mm_token_type_ids` [answers, tokens]; `pixel_values` and `image_grid_thw` of one picture each;
    `group` [answers], the same number for answers to the same question. `model` has TRL's fused head; `base` is the
    same model without a launcher's wrapper.
    """
    inputs, next_tokens = shared_batch(base, batch, length)
    outputs = model(**inputs, shift_labels=next_tokens, fused_lm_head=True)
    shape = len(batch["group"]), length
    last = shape[0] * shape[1]
    entropy = outputs.entropy
    return outputs.log_probs[0, -last:].view(shape), None if entropy is None else entropy[0, -last:].view(shape)


def shared_batch(model: Any, batch: dict[str, torch.Tensor], length: int) -> tuple[dict[str, Any], torch.Tensor]:
    """The model's inputs for a batch as one sequence, each question once, then all answers; and the next tokens
    [1, tokens], -100 where the next token is not an answer's.

    A question's last token is repeated before each of its answers, since it predicts their first token.
    """
    _, question = batch["group"].unique(return_inverse=True)
    first = torch.stack([(question == n).nonzero()[0, 0] for n in range(int(question.max()) + 1)])
    once, ids = rows_of(batch, first), batch["input_ids"]
    prompt = ids.shape[1] - length
    mask = once["attention_mask"][:, :prompt].bool()
    positions, _ = vision_holder(model).get_rope_index(
        once["input_ids"][:, :prompt],
        once["mm_token_type_ids"][:, :prompt],
        image_grid_thw=once["image_grid_thw"],
        attention_mask=mask,
    )
    answer_positions = positions[:, question, -1:] + torch.arange(length, device=ids.device)
    questions, answers = once["input_ids"][:, : prompt - 1], ids[:, prompt - 1 : -1]
    next_tokens = ids[:, prompt:].masked_fill(batch["attention_mask"][:, prompt:] == 0, -100)
    inputs = {
        "input_ids": torch.cat([questions.flatten(), answers.flatten()])[None],
        "position_ids": torch.cat([positions[:, :, :-1].flatten(1), answer_positions.flatten(1)], dim=1)[:, None],
        "pixel_values": once["pixel_values"],
        "image_grid_thw": once["image_grid_thw"],
        "shared": shared_masks(mask[:, :-1], question, length),
    }
    return inputs, torch.cat([torch.full_like(questions.flatten(), -100), next_tokens.flatten()])[None]


def shared_masks(prompt_mask: torch.Tensor, question: torch.Tensor, length: int) -> Shared:
    """The attention masks of questions with `prompt_mask` [questions, tokens], false for padding, and of answers of
    `length` tokens to `question` [answers]."""
    tokens = prompt_mask.shape[1]
    diagonal = torch.eye(tokens, dtype=torch.bool, device=prompt_mask.device)  # a token that sees nothing would be NaN
    question_mask = torch.ones_like(diagonal).tril() & prompt_mask[:, None, :] | diagonal
    causal = torch.ones(length, length, dtype=torch.bool, device=prompt_mask.device).tril()
    to_question = prompt_mask[question][:, None, :].expand(-1, length, -1)
    answer_mask = torch.cat([to_question, causal.expand(len(question), -1, -1)], dim=2)
    return Shared(question, question_mask[:, None], answer_mask[:, None])


def rows_of(batch: dict[str, torch.Tensor], rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """The given rows of a batch in which each row has one picture, with the patches of these pictures."""
    patches = batch["pixel_values"].split(batch["image_grid_thw"].prod(-1).tolist())
    chosen = {key: value[rows] for key, value in batch.items() if key != "pixel_values"}
    return chosen | {"pixel_values": torch.cat([patches[n] for n in rows.tolist()])}


@torch.no_grad()
def generate_shared(
    model: Any, generate: Callable[..., torch.Tensor], copies: int, batch: dict[str, Any]
) -> torch.Tensor:
    """The model's own `generate` for a batch in which each question is repeated in `copies` consecutive rows; the
    question is prefilled once and its key-value cache copied."""
    rows = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
    once = rows_of(rows, torch.arange(0, len(rows["input_ids"]), copies, device=rows["input_ids"].device))
    for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
        once[key] = once[key][:, :-1]
    cache, holder = model(**once, use_cache=True, logits_to_keep=1).past_key_values, vision_holder(model)
    cache.batch_repeat_interleave(copies)
    holder.rope_deltas = holder.rope_deltas.repeat_interleave(copies, dim=0)
    pictures = {"mm_token_type_ids", "pixel_values", "image_grid_thw"}
    return generate(**{key: value for key, value in batch.items() if key not in pictures}, past_key_values=cache)


class _SharingTrainer(Trainer):
    """Prompt sharing for both trainers; with `share_questions` False they are TRL's."""

    num_generations: Any
    ref_model: Any

    def __init__(self, *arguments: Any, share_questions: bool = True, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._groups: torch.Tensor | None = None
        model: Any = self.model
        models = [self.accelerator.unwrap_model(each) for each in (model, self.ref_model) if each is not None]
        self._shares = share_questions and all(map(use_sharing, models))
        if self._shares:
            original = model.generate

            def generate(**batch: Any) -> torch.Tensor:
                if len(batch["input_ids"]) % self.num_generations:  # a group is spread over processes
                    return original(**batch)  # type: ignore[no-any-return]
                return generate_shared(model, original, self.num_generations, batch)

            model.generate = generate

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        scored: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        return scored | {"group": self._sampled_groups(len(scored["prompt_ids"]))}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._groups = inputs["group"]
        loss: torch.Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
        self._groups = None
        return loss

    def _sampled_groups(self, rows: int) -> torch.Tensor:
        """The group numbers [rows] of this process's rows, in the order in which they were sampled."""
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
        groups = self._sampled_groups(len(input_ids)) if self._groups is None else self._groups
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "group": groups}
        batch |= {key: named[key] for key in ("mm_token_type_ids", "image_grid_thw", "pixel_values")}
        size = batch_size or len(groups)
        base = self.accelerator.unwrap_model(model)
        log_probs: list[torch.Tensor] = []
        entropies: list[torch.Tensor | None] = []
        for start in range(0, len(groups), size):
            part = rows_of(batch, torch.arange(start, min(start + size, len(groups)), device=groups.device))
            with self.accelerator.autocast():
                log_prob, entropy = answer_log_probabilities(model, base, part, logits_to_keep)
            log_probs.append(log_prob)
            entropies.append(entropy)
        known = [entropy for entropy in entropies if entropy is not None]
        return torch.cat(log_probs), torch.cat(known) if known else None, None


class SharingGRPOTrainer(_SharingTrainer, GRPOTrainer):
    """TRL's GRPO with prompt sharing."""


class SharingRLOOTrainer(_SharingTrainer, RLOOTrainer):
    """TRL's RLOO with prompt sharing."""
