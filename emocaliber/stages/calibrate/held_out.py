"""Watch the stated confidence on a held-out slice of the calibration split while stage 3 trains; keep the best adapter.

Not an evaluation on test rows: the test split is never seen here. The label each row answered before the stage is kept
in context, so one forward pass reads the level that would be stated.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from emocaliber.prompting import LEVEL_TEXTS, LEVELS
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.soft_targets import SoftTargetCollator

BEST = "best"


@dataclass(frozen=True)
class Watch:
    """What is watched: encoded lessons, how often, and where the best adapter and the record are kept."""

    lessons: Sequence[Lesson]
    rows: Sequence[dict[str, Any]]
    collator: SoftTargetCollator
    every: int
    batch_size: int
    out: Path


class HeldOut(TrainerCallback):
    """Records Brier, calibration error, mean, spread and number of distinct stated levels; saves the best adapter."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.record = watch.out / "held_out.jsonl"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any
    ) -> None:
        """Record the model that the stage starts from; after a stop, drop what lies beyond the checkpoint."""
        kept = [line for line in self.lines() if line["step"] <= state.global_step]
        self.record.write_text("".join(json.dumps(line) + "\n" for line in kept))
        if not kept:
            self._look(0, named["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any) -> None:
        """Look each `every` steps and after the last."""
        if state.global_step % self.watch.every == 0 or state.global_step == state.max_steps:
            self._look(state.global_step, named["model"])

    def lines(self) -> list[dict[str, Any]]:
        """What was recorded so far."""
        text = self.record.read_text() if self.record.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def _look(self, step: int, model: Any) -> None:
        before = self.lines()
        numbers = stated_numbers(model, self.watch)
        if all(numbers["brier"] < line["brier"] for line in before):
            self._keep(model, step)
        with self.record.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        print(
            f"  held out at step {step}: Brier {numbers['brier']:.4f}, {numbers['distinct']:.0f} distinct values",
            flush=True,
        )

    def _keep(self, model: Any, step: int) -> None:
        partial, best = self.watch.out / f"{BEST}.partial", self.watch.out / BEST
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(str(partial), safe_serialization=True)
        (partial / "step.json").write_text(json.dumps({"step": step}))
        shutil.rmtree(best, ignore_errors=True)
        partial.replace(best)


def stated_numbers(model: Any, watch: Watch) -> dict[str, float]:
    """Figures of the greedily stated level over the watched rows."""
    was_training = model.training
    model.eval()
    stated: list[float] = []
    for start in range(0, len(watch.rows), watch.batch_size):
        stated += greedy_levels(model, watch.rows[start : start + watch.batch_size], watch.collator)
    model.train(was_training)
    c = np.asarray(stated)
    y = np.asarray([one.correct for one in watch.lessons], dtype=float)
    error = sum(abs((y[c == v]).mean() - v) * (c == v).mean() for v in np.unique(c))
    return {
        "brier": float(((c - y) ** 2).mean()),
        "calibration_error": float(error),
        "mean": float(c.mean()),
        "accuracy": float(y.mean()),
        "spread": float(c.std()),
        "distinct": float(len(np.unique(c))),
        "near_zero": float((c < 0.1).mean()),
    }


@torch.inference_mode()
def greedy_levels(model: Any, rows: Sequence[dict[str, Any]], collator: SoftTargetCollator) -> list[float]:
    """The level that greedy decoding among the levels would state after each row's answer.

    Where a level is several tokens, the tokens after the first are known only along the level that is written: a row
    is read again with the level its first tokens lead to, until nothing is open.
    """
    stated = [0.0] * len(rows)
    open_rows = {n: dict(row) for n, row in enumerate(rows)}
    while open_rows:
        numbers = list(open_rows)
        for n, live in zip(numbers, _walk(model, collator, [open_rows[n] for n in numbers]), strict=True):
            if len(live) == 1:
                stated[n] = LEVELS[live[0]]
                del open_rows[n]
            else:
                open_rows[n] = collator.saying(open_rows[n], LEVEL_TEXTS[live[0]])
    return stated


def _walk(model: Any, collator: SoftTargetCollator, rows: list[dict[str, Any]]) -> list[list[int]]:
    """For each row the levels that its likeliest tokens leave possible, as far as the written level shows them."""
    batch = collator(rows)
    field, goal = batch["level_field"], batch["labels"][:, 1:]
    inputs = {k: v for k, v in batch.items() if k not in {"labels", "label_field", "level_field", "plain", "correct"}}
    inputs = {
        k: v.to(model.device, model.dtype) if v.is_floating_point() else v.to(model.device) for k, v in inputs.items()
    }
    kept = int((goal != -100).any(0).float().argmax())
    logits = model(**inputs, use_cache=False, logits_to_keep=goal.shape[1] - kept + 1).logits[:, :-1]
    found = []
    for n in range(len(rows)):
        steps = [
            {int(p): int(t) for p, t, c in zip(*level, strict=True) if c}
            for level in zip(field["places"][n], field["tokens"][n], field["counts"][n], strict=True)
        ]
        found.append(_likeliest(logits[n], steps, kept))
    return found


def _likeliest(logits: torch.Tensor, steps: list[dict[int, int]], kept: int) -> list[int]:
    live = list(range(len(steps)))
    for place in sorted({place for one in steps for place in one}):
        tokens = sorted({steps[k][place] for k in live if place in steps[k]})
        if len(tokens) > 1:
            best = tokens[int(logits[place - kept, tokens].argmax())]
            live = [k for k in live if steps[k].get(place) == best]
    return live
