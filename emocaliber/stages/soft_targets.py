"""TRL's SFT trainer, for answers whose label and confidence are learned from distributions instead of one token.

Not a new trainer: everything but the loss is TRL's. The label's and the level's places are found in the completion;
each candidate and each level must be one token there (see levels_of), else the trainer is refused with the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling, SFTTrainer

from emocaliber.errors import UserError
from emocaliber.prompting import LEVEL_TEXTS
from emocaliber.stages.conversations import Lesson

LevelLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From log-probabilities over levels [n, 21], targets [n, 21] and correctness [n] to a loss per row [n]."""


@dataclass(frozen=True)
class AnswerTokens:
    """The token of each label and each confidence level."""

    labels: dict[str, int]
    levels: tuple[int, ...]


def answer_tokens(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> AnswerTokens:
    """Look them up. Raises UserError where a label or level is more than one token of this tokenizer."""
    found = {}
    for text in (*labels, *LEVEL_TEXTS):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise UserError(
                f"soft targets need {text!r} to be one token, but this tokenizer makes {len(ids)} of it; "
                "add it to the tokenizer's vocabulary first"
            )
        found[text] = ids[0]
    return AnswerTokens({name: found[name] for name in labels}, tuple(found[text] for text in LEVEL_TEXTS))


def cross_entropy(log_levels: torch.Tensor, targets: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """Distillation: the cross-entropy between the target distribution over levels and the model's."""
    return -(targets * log_levels).sum(-1)


@dataclass
class SoftTargetCollator:
    """TRL's collator, plus the lessons' targets as tensors over the answer tokens."""

    inner: DataCollatorForVisionLanguageModeling
    tokens: AnswerTokens

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        lessons: list[Lesson] = [row.pop("lesson") for row in rows]
        batch: dict[str, Any] = dict(self.inner(rows))
        columns = list(self.tokens.labels)
        labels = torch.zeros(len(lessons), len(columns))
        for number, one in enumerate(lessons):
            if one.label_target is not None:
                for candidate, share in zip(one.sample.candidates, one.label_target, strict=True):
                    labels[number, columns.index(candidate)] = share
        batch["label_targets"] = labels
        blank = (0.0,) * len(LEVEL_TEXTS)
        batch["level_targets"] = torch.tensor([one.level_target or blank for one in lessons])
        batch["correct"] = torch.tensor([-1.0 if one.correct is None else one.correct for one in lessons])
        return batch


class SoftTargetTrainer(SFTTrainer):
    """SFT with soft label and level targets; `level_loss` says what is learned at the level's place."""

    def __init__(self, *arguments: Any, tokens: AnswerTokens, level_loss: LevelLoss, **named: Any) -> None:
        self.tokens, self.level_loss = tokens, level_loss
        super().__init__(*arguments, **named)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean over rows of the loss at the label's place, the level's place and the plain tokens."""
        soft = [inputs.pop(key) for key in ("label_targets", "level_targets", "correct")]
        goal = inputs.pop("labels")[:, 1:]
        # Only the completion's positions matter, and they stand at the end: the vocabulary is large, the prompt long.
        kept = int((goal != -100).any(0).float().argmax())
        outputs = model(**inputs, use_cache=False, logits_to_keep=goal.shape[1] - kept + 1)
        loss = self._row_losses(outputs.logits[:, :-1].float(), goal[:, kept:], *soft).mean()
        return (loss, outputs) if return_outputs else loss

    def _row_losses(
        self,
        logits: torch.Tensor,
        goal: torch.Tensor,
        label_targets: torch.Tensor,
        level_targets: torch.Tensor,
        correct: torch.Tensor,
    ) -> torch.Tensor:
        logs = F.log_softmax(logits, -1)
        label_ids = torch.tensor(list(self.tokens.labels.values()), device=goal.device)
        level_ids = torch.tensor(self.tokens.levels, device=goal.device)
        at_label, at_level = torch.isin(goal, label_ids), torch.isin(goal, level_ids)
        soft_label = label_targets.sum(-1) > 0
        plain = (goal != -100) & ~at_level & ~(at_label & soft_label[:, None])
        rows = -(logs.gather(-1, goal.clamp(min=0).unsqueeze(-1)).squeeze(-1) * plain).sum(1)
        candidates = logs[..., label_ids] * at_label.unsqueeze(-1)
        rows = rows - (candidates.sum(1) * label_targets).sum(-1)
        has_level = at_level.any(1)
        # Normalised over the whole vocabulary: over the levels alone, mass could leak to other tokens unpunished.
        levels = (logs[..., level_ids] * at_level.unsqueeze(-1)).sum(1)
        return rows + torch.where(has_level, self.level_loss(levels, level_targets, correct), 0.0)
