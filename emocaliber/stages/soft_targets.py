"""TRL's SFT trainer, for answers whose label and confidence are learned from distributions instead of one token.

Not a new trainer: everything but the loss is TRL's. Where an option is one token, the loss is the cross-entropy over
all of them. Where options are several tokens (emocaliber.stages.answer_paths), their log-probabilities are read along
the written answer: exact as far as its own tokens reach; options that part from it by one and the same token share its
probability as their targets do. Of "0.85" in digits, the model's "0", "." and "8" are told from every other beginning,
0.80 from 0.85, and 0.60 and 0.65 are known by their sum. "1.00" shows nothing of what follows "0": where a loss is
about the mean level (stage 3), 0.95 is written in its place, and the mean is known to less than one level.
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
from emocaliber.stages.fast.packing import LOOKED_AT, ROWS, packed

LevelLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From log-probabilities over levels [n, 21], targets [n, 21] and correctness [n] to a loss per row [n]."""

_FLOOR = 1e-12  # the share of an option that its companions' targets leave nothing to


def cross_entropy(log_levels: torch.Tensor, targets: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """Distillation: the cross-entropy between the target distribution over levels and the model's."""
    return -(targets * log_levels).sum(-1)


@dataclass
class SoftTargetCollator:
    """TRL's collator, plus the examples' targets and the places of the tokens they are about."""

    inner: DataCollatorForVisionLanguageModeling
    paths: AnswerPaths

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Besides TRL's tensors: `label_field`, `level_field` (see field_tensors), `plain` [n, length], the weights of
        tokens that are learned as they stand, and `correct`.

        The tokens of the reasoning weigh 1 together, so that a long one counts no more than a label or a confidence,
        and the loss of a row does not depend on its length.
        """
        rows = [self._telling(row) for row in rows]
        examples: list[TrainingExample] = [row["example"] for row in rows]
        batch: dict[str, Any] = dict(self.inner([{k: v for k, v in row.items() if k != "example"} for row in rows]))
        goal = batch["labels"][:, 1:]
        first = (goal != -100).int().argmax(1)
        for example, row, start in zip(examples, goal.tolist(), first.tolist(), strict=True):
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
        batch["plain"] = (goal != -100).float()
        for n, (example, start) in enumerate(zip(examples, first.tolist(), strict=True)):
            if reasoning := self.paths.reasoning(example.completion):
                batch["plain"][n, start + reasoning.start : start + reasoning.stop] = 1 / len(reasoning)
        for name in ("label_field", "level_field"):
            field = batch[name]
            number, _, _ = torch.nonzero(field["counts"], as_tuple=True)
            batch["plain"][number, field["places"][field["counts"]]] = 0.0
        batch["correct"] = torch.tensor([-1.0 if example.correct is None else example.correct for example in examples])
        return batch

    def _telling(self, row: dict[str, Any]) -> dict[str, Any]:
        example: TrainingExample = row["example"]
        if example.correct is None or not example.level_target:
            return row
        hidden = max(map(len, self.paths.levels(example.completion).companions))
        return self.saying(row, LEVEL_TEXTS[-2]) if hidden > 2 else row

    def saying(self, row: dict[str, Any], text: str, field: str = "confidence") -> dict[str, Any]:
        """The row with another level, or label, written in its answer."""
        example: TrainingExample = row["example"]
        changed = dataclasses.replace(example, completion=self.paths.say(example.completion, field, text))
        return row | {"example": changed, "completion": [{"role": "assistant", "content": changed.completion}]}


def field_tensors(
    paths: Sequence[Paths | None], targets: Sequence[tuple[float, ...] | None], first: torch.Tensor
) -> dict[str, torch.Tensor]:
    """One field's paths and targets as tensors; rows without them are zeros.

    `places`, `tokens`, `counts` [n, options, steps]; `shares` [n, options], the targets; `rest` [n, options], the log
    of each option's part of what its companions share; `has_target` [n].
    """
    options = max((len(options_of.steps) for options_of in paths if options_of), default=1)
    longest = max((len(step) for options_of in paths if options_of for step in options_of.steps), default=1)
    places = torch.zeros(len(paths), options, longest, dtype=torch.long)
    tokens, counts = places.clone(), places.bool()
    shares = torch.zeros(len(paths), options)
    rest = shares.clone()
    for n, (options_of, target) in enumerate(zip(paths, targets, strict=True)):
        if options_of is None or target is None:
            continue
        shares[n, : len(target)] = torch.tensor(target)
        for k, steps in enumerate(options_of.steps):
            for b, (place, token) in enumerate(steps):
                places[n, k, b], tokens[n, k, b], counts[n, k, b] = int(first[n]) + place, token, True
            parts = torch.tensor([max(target[other], _FLOOR) for other in options_of.companions[k]])
            rest[n, k] = (max(target[k], _FLOOR) / parts.sum()).log()
    has_target = torch.tensor([options_of is not None for options_of in paths])
    return {
        "places": places,
        "tokens": tokens,
        "counts": counts,
        "shares": shares,
        "rest": rest,
        "has_target": has_target,
    }


def answer_places(goal: torch.Tensor) -> torch.Tensor:
    """Places of each row's answer in the goal [n, length], which is -100 elsewhere: so many for all, [n, few].

    They are neighbours, and where a row's answer is shorter, or stands at the end, some around it are among them.
    """
    answered = goal != -100
    first, behind = answered.int().argmax(1), goal.shape[1] - answered.flip(1).int().argmax(1)
    few = int((behind - first).max())
    return first.clamp(max=goal.shape[1] - few)[:, None] + torch.arange(few, device=goal.device)


def option_logs(
    logits: torch.Tensor, normaliser: torch.Tensor, field: dict[str, torch.Tensor], first: torch.Tensor
) -> torch.Tensor:
    """The options' log-probabilities [n, options] from the logits of all tokens [n, few, vocabulary], row n's from
    place `first` [n, 1] on, and the log of their sum `normaliser` [n, few].

    Normalised over the whole vocabulary: over the options alone, mass could leak to other tokens unpunished.
    """
    rows = torch.arange(len(logits), device=logits.device)[:, None, None]
    places = (field["places"] - first[:, None]).clamp(min=0)
    steps = logits[rows, places, field["tokens"]].float() - normaliser[rows, places]
    summed: torch.Tensor = (steps * field["counts"]).sum(-1) + field["rest"]
    return summed


class LogSumExp(torch.autograd.Function):
    """The log of the sum of the vocabulary's exponentials in float32, [n, few, vocabulary] to [n, few], by parts that
    fit a processor's cache: as a whole, a vocabulary of 49,000 would be copied several times through main memory."""

    ROWS = 16

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor) -> torch.Tensor:
        """In float32 whatever the logits' type."""
        flat = logits.flatten(0, 1)
        normaliser = torch.cat([part.float().logsumexp(-1) for part in flat.split(LogSumExp.ROWS)])
        ctx.save_for_backward(logits, normaliser)
        return normaliser.view(logits.shape[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Their softmax, in the logits' type."""
        logits, normaliser = ctx.saved_tensors
        back, flat, upstream = torch.empty_like(logits), logits.flatten(0, 1), gradients[0].flatten()
        parts = zip(flat.split(LogSumExp.ROWS), back.flatten(0, 1).split(LogSumExp.ROWS), strict=True)
        for n, (part, into) in enumerate(parts):
            at = slice(n * LogSumExp.ROWS, n * LogSumExp.ROWS + len(part))
            into.copy_((part.float() - normaliser[at, None]).exp_().mul_(upstream[at, None]))
        return back


class SoftTargetTrainer(SFTTrainer):
    """SFT with soft label and level targets; `level_loss` says what is learned of the levels.

    With `packing`, the padding of a batch is not computed (see fast.packing); the model must be ready for it. With
    `lengths`, batches are of rows of like length, by an order drawn anew for each epoch.
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
        # The loss below is a mean over rows, whatever the accumulation: the trainer must divide by its steps.
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
        """The mean over rows of the loss of the label, the level and the plain tokens."""
        soft = {key: inputs.pop(key) for key in ("label_field", "level_field", "plain", "correct")}
        goal = inputs.pop("labels")[:, 1:]
        # Only the completion's places matter, and they stand at the end: the vocabulary is large, the prompt long.
        places = answer_places(goal)
        if self.packing:
            line = packed(self.accelerator.unwrap_model(model), inputs)
            looked_at = line[ROWS].gather(1, places)
            outputs = model(**line, **{LOOKED_AT: looked_at}, use_cache=False, logits_to_keep=looked_at.flatten())
            logits = outputs.logits.view(*places.shape, -1)
        else:
            first = int(places.min())
            places = torch.arange(first, goal.shape[1], device=goal.device).expand(len(goal), -1)
            outputs = model(**inputs, use_cache=False, logits_to_keep=goal.shape[1] - first + 1)
            logits = outputs.logits[:, :-1]
        loss = self._row_losses(logits, goal, places, **soft).mean()
        return (loss, outputs) if return_outputs else loss

    def _row_losses(
        self,
        logits: torch.Tensor,
        goal: torch.Tensor,
        places: torch.Tensor,
        *,
        label_field: dict[str, torch.Tensor],
        level_field: dict[str, torch.Tensor],
        plain: torch.Tensor,
        correct: torch.Tensor,
    ) -> torch.Tensor:
        first, normaliser = places[:, :1], LogSumExp.apply(logits)  # type: ignore[no-untyped-call]
        written = logits.gather(-1, goal.gather(1, places).clamp(min=0).unsqueeze(-1)).squeeze(-1).float() - normaliser
        rows: torch.Tensor = -(written * plain.gather(1, places)).sum(1)
        rows = rows - (label_field["shares"] * option_logs(logits, normaliser, label_field, first)).sum(-1)
        if not bool(level_field["has_target"].any()):
            return rows
        levels = self.level_loss(option_logs(logits, normaliser, level_field, first), level_field["shares"], correct)
        return rows + torch.where(level_field["has_target"], levels, 0.0)
