"""Watch the stated confidence on a held-out slice of the calibration split while stage 3 trains; keep the best adapter.

Not an evaluation on test rows: the test split is never seen here. Nothing is generated: forward passes over the answers
given before the stage read which label, which level and which form greedy decoding would now follow them with.

The least held-out Brier score wins; of the steps that cannot be told from it (within the standard error of its lead
over the start, and not behind the start), the one that is right most often, the later of equals. By the Brier score
alone a step wins that is wrong more often and knows it: on the tiny recipes that cost .5 to 1.1 points of accuracy
(eval/results/tiny-demo.md).
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import replace_folder
from emocaliber.core.prompting import LEVEL_TEXTS, LEVELS
from emocaliber.stages.calibrate.watching import Floats, Stated, alarms, costs, gain, preferred, watch_numbers
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
        self.start = watch.out / "held_out_start.json"  # each row's cost at the start, in the rows' order
        self.warned: set[str] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any
    ) -> None:
        """Record the model that the stage starts from; after a stop, drop what lies beyond the checkpoint."""
        self.writes = state.is_world_process_zero
        kept = [line for line in self.lines() if line["step"] <= state.global_step and state.global_step > 0]
        if self.writes:
            self.record.write_text("".join(json.dumps(line) + "\n" for line in kept))
        if state.global_step == 0:
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
        stated, truths = stated_answers(model, self.watch), [one.sample.label for one in self.watch.lessons]
        numbers = watch_numbers(stated, truths)
        self._warn(before[0] if before else numbers, numbers)
        if not self.writes:
            return
        numbers |= self._gain(step, costs(stated, truths))
        if step == 0 or preferred({"step": step, **numbers}, kept_step(self.watch.out), before):
            self._keep(model, step)
        with self.record.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        print(
            f"  held out at step {step}: Brier {numbers['brier']:.4f}, accuracy {numbers['accuracy']:.3f}, "
            f"{numbers['distinct']:.0f} distinct values, {numbers['malformed']:.0%} malformed; "
            f"{numbers['gain']:+.4f} ± {numbers['gain_error']:.4f} better than the start",
            flush=True,
        )

    def _gain(self, step: int, now: Floats) -> dict[str, float]:
        if step == 0:
            self.start.write_text(json.dumps(now.tolist()))
        elif not self.start.exists():
            raise UserError(f"{self.start}: missing; remove {self.watch.out} and train the stage again from its start")
        return gain(
            np.array(json.loads(self.start.read_text())), now, [one.sample.cluster for one in self.watch.lessons]
        )

    def _warn(self, first: dict[str, Any], now: dict[str, float]) -> None:
        """Each kind of trouble once a training."""
        for alarm in alarms(first, now, len(self.watch.rows)):
            if str(alarm).partition(":")[2] not in self.warned:
                self.warned.add(str(alarm).partition(":")[2])
                warnings.warn(alarm, stacklevel=2)

    def _keep(self, model: Any, step: int) -> None:
        partial, best = self.watch.out / f"{BEST}.partial", self.watch.out / BEST
        shutil.rmtree(partial, ignore_errors=True)
        # TRL keeps the start of some methods beside the adapter that learns, as a second one that is not to be served.
        learned: dict[str, Any] = {"selected_adapters": ["default"]} if isinstance(model, PeftModel) else {}
        model.save_pretrained(str(partial), safe_serialization=True, **learned)
        (partial / "step.json").write_text(json.dumps({"step": step}))
        replace_folder(partial, best)


def kept_step(out: Path) -> int:
    """The step whose adapter stage 3 keeps in `out`."""
    return int(json.loads((out / BEST / "step.json").read_text())["step"])


def stated_answers(model: Any, watch: Watch) -> list[Stated]:
    """What greedy decoding would state for each of the watched rows, in their order."""
    was_training = model.training
    model.eval()
    stated: list[Stated] = []
    for start in range(0, len(watch.rows), watch.batch_size):
        stated += greedy_answers(model, watch.rows[start : start + watch.batch_size], watch.collator)
    model.train(was_training)
    return stated


@torch.inference_mode()
def greedy_answers(model: Any, rows: Sequence[dict[str, Any]], collator: SoftTargetCollator) -> list[Stated]:
    """What greedy decoding among the candidates and the levels would state for each row.

    A row's written answer is followed as far as the model would write it: where it would name another label or level,
    that is written in its place and the row is read again, until nothing is open. An answer is not formed where the
    model would leave the template's form before or right after the level, or where its logits are not finite.
    """
    stated: dict[int, Stated] = {}
    open_rows = {n: dict(row) for n, row in enumerate(rows)}
    for _ in range(_MOST_READS):
        numbers = list(open_rows)
        for n, seen in zip(numbers, _read(model, collator, [open_rows[n] for n in numbers]), strict=True):
            stated[n] = Stated(seen.written, LEVELS[seen.levels[0]], seen.formed)
            if seen.label is not None:
                open_rows[n] = collator.saying(open_rows[n], seen.label, "label")
            elif len(seen.levels) > 1:
                open_rows[n] = collator.saying(open_rows[n], LEVEL_TEXTS[seen.levels[0]])
            else:
                del open_rows[n]
        if not open_rows:
            break
    return [stated[n] for n in range(len(rows))]


@dataclass(frozen=True)
class _Seen:
    """One row's reading: the label `written` in it and the one that the model prefers (None for the same), the levels
    that its likeliest tokens leave possible, and whether it keeps to the form."""

    written: str
    label: str | None
    levels: list[int]
    formed: bool


_MOST_READS = 12  # ties that flip with the batch could otherwise go on for ever


def _read(model: Any, collator: SoftTargetCollator, rows: list[dict[str, Any]]) -> list[_Seen]:
    batch = collator(rows)
    goal, plain = batch["labels"][:, 1:], batch["plain"]
    ours = {"labels", "label_field", "level_field", "plain", "correct"}
    inputs = {k: v for k, v in batch.items() if k not in ours}
    inputs = {
        k: v.to(model.device, model.dtype) if v.is_floating_point() else v.to(model.device) for k, v in inputs.items()
    }
    kept = int((goal != -100).any(0).float().argmax())
    logits = model(**inputs, use_cache=False, logits_to_keep=goal.shape[1] - kept + 1).logits[:, :-1]
    found = []
    for n, row in enumerate(rows):
        lesson: Lesson = row["lesson"]
        written = str(collator.paths.said(lesson.completion, "label"))
        labels, levels = _steps(batch["label_field"], n), _steps(batch["level_field"], n)
        best = _likeliest(logits[n], labels, kept)
        # A label of which only the first tokens are known is the written one as long as that is among them.
        keep = not batch["label_field"]["given"][n] or lesson.sample.candidates.index(written) in best
        label = None if keep else lesson.sample.candidates[best[0]]
        last = max((place for one in levels for place in one), default=goal.shape[1])
        formed = _follows(logits[n], goal[n], plain[n], kept, last + 1)
        found.append(_Seen(written, label, _likeliest(logits[n], levels, kept), formed))
    return found


def _steps(field: dict[str, torch.Tensor], n: int) -> list[dict[int, int]]:
    """The token of each option of row n by its place."""
    return [
        {int(p): int(t) for p, t, c in zip(*option, strict=True) if c}
        for option in zip(field["places"][n], field["tokens"][n], field["counts"][n], strict=True)
    ]


def _follows(logits: torch.Tensor, goal: torch.Tensor, plain: torch.Tensor, kept: int, until: int) -> bool:
    """Whether greedy decoding would write the form's own tokens, up to place `until`."""
    places = torch.nonzero(plain[: until + 1]).squeeze(-1)
    chosen = logits[(places - kept).to(logits.device)]
    return bool(torch.isfinite(chosen).all()) and bool((chosen.argmax(-1).cpu() == goal[places].cpu()).all())


def _likeliest(logits: torch.Tensor, steps: list[dict[int, int]], kept: int) -> list[int]:
    live = list(range(len(steps)))
    for place in sorted({place for one in steps for place in one}):
        tokens = sorted({steps[k][place] for k in live if place in steps[k]})
        if len(tokens) > 1:
            best = tokens[int(logits[place - kept, tokens].argmax())]
            live = [k for k in live if steps[k].get(place) == best]
    return live
