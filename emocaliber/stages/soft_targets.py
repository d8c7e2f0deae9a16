"""TRL's SFT trainer with soft targets: the label and the confidence are learned from distributions over their options.

Not a new trainer: only the loss is ours. Where every option is a single token, the loss is the cross-entropy over these
tokens. Where options take several tokens, their log-probabilities are read along the written answer
(emocaliber.stages.answer_paths). That is exact for options that the written tokens tell apart; options that leave the
answer by the same token split that token's probability in proportion to their targets. For "0.85" in digits, 0.80 and
0.85 are exact, and 0.60 and 0.65 are known only by their sum. "1.00" leaves all other levels at its first token, so
where the loss needs the mean level (stage 3) 0.95 is written instead; the mean is then known to within one level.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling, SFTTrainer

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import LEVEL_TEXTS
from emocaliber.stages.answer_paths import AnswerPaths, Paths
from emocaliber.stages.examples import GroupedByLength, TrainingExample
from emocaliber.stages.fast.packing import LOSS_INDEX, PACKED_INDEX, pack_batch

LevelLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From log-probabilities over levels [n, 21], targets [n, 21] and correctness [n] to a loss per row [n]."""

_FLOOR = 1e-12  # keeps the log finite for an option whose siblings have all of the target


def cross_entropy(log_levels: torch.Tensor, targets: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """Distillation: the cross-entropy between the target distribution over levels and the model's."""
    return -(targets * log_levels).sum(-1)


@dataclass
class SoftTargetCollator:
    """TRL's collator, plus the examples' soft targets and the positions of the tokens that these are about."""

    inner: DataCollatorForVisionLanguageModeling
    paths: AnswerPaths

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's tensors, and `label_field`, `level_field` (see field_tensors), `token_weights` [n, length], the weights
        of tokens that are learned by plain cross-entropy, and `correct` [n], -1 where an example has none.

        The weights of a row's reasoning sum to 1: however long it is, it counts as much as one token, and so as much as
        a label or a confidence.
        """
        rows = [self._informative(row) for row in rows]
        examples: list[TrainingExample] = [row["example"] for row in rows]
        batch: dict[str, Any] = dict(self.inner([{k: v for k, v in row.items() if k != "example"} for row in rows]))
        next_tokens = batch["labels"][:, 1:]
        first = (next_tokens != -100).int().argmax(1)
        for example, row, start in zip(examples, next_tokens.tolist(), first.tolist(), strict=True):
            tokens = self.paths.tokens(example.completion)
            if tuple(row[start : start + len(tokens)]) != tokens:
                raise UserError(
                    f"{example.sample.id}: the chat template writes {example.completion!r} differently in a chat; where"
                    " it moves <think>, give a template of your own with other tags, such as <reasoning>"
                )
        labels = [
            self.paths.labels(example.completion, example.sample.candidates) if example.label_target else None
            for example in examples
        ]
        levels = [self.paths.levels(example.completion) if example.level_target else None for example in examples]
        batch["label_field"] = field_tensors(labels, [example.label_target for example in examples], first)
        batch["level_field"] = field_tensors(levels, [example.level_target for example in examples], first)
        weights = batch["token_weights"] = (next_tokens != -100).float()
        for n, (example, start) in enumerate(zip(examples, first.tolist(), strict=True)):
            if reasoning := self.paths.reasoning(example.completion):
                weights[n, start + reasoning.start : start + reasoning.stop] = 1 / len(reasoning)
        for name in ("label_field", "level_field"):
            field = batch[name]
            row_numbers, _, _ = torch.nonzero(field["mask"], as_tuple=True)
            weights[row_numbers, field["positions"][field["mask"]]] = 0.0
        batch["correct"] = torch.tensor([-1.0 if example.correct is None else example.correct for example in examples])
        return batch

    def _informative(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row, with 0.95 written for 1.00 where the mean level is learned and 1.00 would hide the other levels."""
        example: TrainingExample = row["example"]
        if example.correct is None or not example.level_target:
            return row
        hidden = max(map(len, self.paths.levels(example.completion).siblings))
        if hidden <= 2:
            return row
        completion = self.paths.with_field(example.completion, "confidence", LEVEL_TEXTS[-2])
        changed = dataclasses.replace(example, completion=completion)
        return row | {"example": changed, "completion": [{"role": "assistant", "content": completion}]}


def field_tensors(
    paths: Sequence[Paths | None], targets: Sequence[tuple[float, ...] | None], first: torch.Tensor
) -> dict[str, torch.Tensor]:
    """One field's paths and targets as tensors, zero for rows without them; `first` [n] is where their answers start.

    `positions`, `tokens`, `mask` [n, options, steps]: the paths' steps; `targets` [n, options]; `log_split`
    [n, options], the log of each option's share of the probability that it has together with its siblings;
    `has_target` [n].
    """
    options = max((len(path.steps) for path in paths if path), default=1)
    longest = max((len(steps) for path in paths if path for steps in path.steps), default=1)
    positions = torch.zeros(len(paths), options, longest, dtype=torch.long)
    tokens, mask = positions.clone(), positions.bool()
    soft_targets = torch.zeros(len(paths), options)
    log_split = soft_targets.clone()
    for n, (path, target) in enumerate(zip(paths, targets, strict=True)):
        if path is None or target is None:
            continue
        soft_targets[n, : len(target)] = torch.tensor(target)
        for k, steps in enumerate(path.steps):
            for step, (position, token) in enumerate(steps):
                positions[n, k, step], tokens[n, k, step], mask[n, k, step] = int(first[n]) + position, token, True
            parts = torch.tensor([max(target[sibling], _FLOOR) for sibling in path.siblings[k]])
            log_split[n, k] = (max(target[k], _FLOOR) / parts.sum()).log()
    return {
        "positions": positions,
        "tokens": tokens,
        "mask": mask,
        "targets": soft_targets,
        "log_split": log_split,
        "has_target": torch.tensor([path is not None for path in paths]),
    }


def answer_positions(next_tokens: torch.Tensor) -> torch.Tensor:
    """The positions of each row's answer [n, width] in `next_tokens` [n, length], which is -100 outside the answers.

    All rows get as many consecutive positions as the longest answer has, so that a shorter one includes some outside.
    """
    answered = next_tokens != -100
    length = next_tokens.shape[1]
    first, end = answered.int().argmax(1), length - answered.flip(1).int().argmax(1)
    width = int((end - first).max())
    return first.clamp(max=length - width)[:, None] + torch.arange(width, device=next_tokens.device)


def option_log_probs(
    logits: torch.Tensor, normaliser: torch.Tensor, field: dict[str, torch.Tensor], first: torch.Tensor
) -> torch.Tensor:
    """The options' log-probabilities [n, options] from logits [n, width, vocabulary] that begin at position `first`
    [n, 1] of each row, and their logsumexp over the vocabulary, `normaliser` [n, width].

    Normalised over the whole vocabulary: over the options alone, probability could leak to other tokens unpunished.
    """
    rows = torch.arange(len(logits), device=logits.device)[:, None, None]
    positions = (field["positions"] - first[:, None]).clamp(min=0)
    steps = logits[rows, positions, field["tokens"]].float() - normaliser[rows, positions]
    summed: torch.Tensor = (steps * field["mask"]).sum(-1) + field["log_split"]
    return summed


class LogSumExp(torch.autograd.Function):
    """logsumexp over the vocabulary in float32, [n, width, vocabulary] to [n, width], in chunks that fit a CPU's cache:
    as a whole, a vocabulary of 49,000 would pass through main memory several times."""

    ROWS = 16

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor) -> torch.Tensor:
        """In float32 whatever the type of the logits."""
        flat = logits.flatten(0, 1)
        normaliser = torch.cat([part.float().logsumexp(-1) for part in flat.split(LogSumExp.ROWS)])
        ctx.save_for_backward(logits, normaliser)
        return normaliser.view(logits.shape[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """The softmax times the incoming gradient, in the type of the logits."""
        logits, normaliser = ctx.saved_tensors
        back, flat, upstream = torch.empty_like(logits), logits.flatten(0, 1), gradients[0].flatten()
        parts = zip(flat.split(LogSumExp.ROWS), back.flatten(0, 1).split(LogSumExp.ROWS), strict=True)
        for n, (part, into) in enumerate(parts):
            at = slice(n * LogSumExp.ROWS, n * LogSumExp.ROWS + len(part))
            into.copy_((part.float() - normaliser[at, None]).exp_().mul_(upstream[at, None]))
        return back


class SoftTargetTrainer(SFTTrainer):
    """SFT with soft label and level targets; `level_loss` is the loss of the confidence levels.

    `packing` computes batches without padding and needs a model patched by fast.packing.use_packing. `lengths`, in
    tokens, groups rows of similar length into batches, shuffled anew each epoch.
    """

    def __init__(
        self,
        *arguments: Any,
        level_loss: LevelLoss,
        packing: bool = False,
        lengths: list[int] | None = None,
        **named: Any,
    ) -> None:
        self.level_loss, self.packing, self.lengths = level_loss, packing, lengths
        super().__init__(*arguments, **named)
        # The loss below is a mean over rows, not over items: the trainer must divide by the accumulation steps.
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[Any] | None:
        if self.lengths is None:
            return super()._get_train_sampler(train_dataset)
        rows = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return GroupedByLength(rows, self.lengths, self.args.seed)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean over rows of the loss of label, level and all other tokens of the answer."""
        soft = {key: inputs.pop(key) for key in ("label_field", "level_field", "token_weights", "correct")}
        next_tokens = inputs.pop("labels")[:, 1:]
        # Logits are computed for the completions alone: the vocabulary is large and the prompt long.
        positions = answer_positions(next_tokens)
        if self.packing:
            batch = pack_batch(self.accelerator.unwrap_model(model), inputs)
            loss_index = batch[PACKED_INDEX].gather(1, positions)
            outputs = model(**batch, **{LOSS_INDEX: loss_index}, use_cache=False, logits_to_keep=loss_index.flatten())
            logits = outputs.logits.view(*positions.shape, -1)
        else:
            first, length = int(positions.min()), next_tokens.shape[1]
            positions = torch.arange(first, length, device=next_tokens.device).expand(len(next_tokens), -1)
            outputs = model(**inputs, use_cache=False, logits_to_keep=length - first + 1)
            logits = outputs.logits[:, :-1]
        loss = self._row_losses(logits, next_tokens, positions, **soft).mean()
        return (loss, outputs) if return_outputs else loss

    def _row_losses(
        self,
        logits: torch.Tensor,
        next_tokens: torch.Tensor,
        positions: torch.Tensor,
        *,
        label_field: dict[str, torch.Tensor],
        level_field: dict[str, torch.Tensor],
        token_weights: torch.Tensor,
        correct: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of each row [n], from logits [n, width, vocabulary] at `positions` [n, width]."""
        first, normaliser = positions[:, :1], LogSumExp.apply(logits)  # type: ignore[no-untyped-call]
        written = next_tokens.gather(1, positions).clamp(min=0).unsqueeze(-1)
        log_probs = logits.gather(-1, written).squeeze(-1).float() - normaliser
        losses: torch.Tensor = -(log_probs * token_weights.gather(1, positions)).sum(1)
        losses = losses - (label_field["targets"] * option_log_probs(logits, normaliser, label_field, first)).sum(-1)
        if not bool(level_field["has_target"].any()):
            return losses
        log_levels = option_log_probs(logits, normaliser, level_field, first)
        level_losses = self.level_loss(log_levels, level_field["targets"], correct)
        return losses + torch.where(level_field["has_target"], level_losses, 0.0)
