"""TRL's GRPO and RLOO trainers with a question computed once for all answers of its group (see shared_questions).

Not another method: rewards, advantages, losses and draws are TRL's own. Two things are replaced: the model's
`generate`, and how the log-probabilities of answers are read.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

from emocaliber.stages.fast.shared_questions import (
    answer_log_probabilities,
    generate_shared,
    rows_of,
    use_sharing,
)


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
            found: tuple[torch.Tensor, Any, Any] = super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                model, input_ids, attention_mask, logits_to_keep, batch_size, **named
            )
            return found
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
