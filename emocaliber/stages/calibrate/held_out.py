"""Evaluate the stated confidence on held-out rows of the calibration split while stage 3 trains.

The test split is never used here, and nothing is generated: forward passes, shared between the processes, find what
greedy decoding would state (see greedy). Which weights are kept in the end is decided in selection; for that, the
starting weights and those of the step with the lowest held-out Brier score are saved beside the last step's.

    emocaliber train recipes/tiny/3-calibrate.yaml --adapter DIR --out out/3      # held_out.jsonl, held_out_costs.jsonl
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.models.location import Question
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.greedy import AnswerReader, greedy_answers
from emocaliber.stages.calibrate.held_out_metrics import (
    Floats,
    Stated,
    alarms,
    costs,
    gain,
    held_out_numbers,
)
from emocaliber.stages.calibrate.selection import Kept, best_step, select_step
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.launch import any_process, gathered, processes, rank, sharding
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import START, save_result

BEST, STEP = "best", "step"
RECORD, COSTS = "held_out.jsonl", "held_out_costs.jsonl"


class HeldOutCallback(TrainerCallback):
    """Records the held-out metrics at regular steps (see held_out_numbers), and saves the start and the best step.

    `processor` encodes questions and pictures; `question` is saved beside the weights. Every process evaluates its
    share of the rows.
    """

    def __init__(
        self,
        trainer: Trainer,
        recipe: Recipe,
        held_out: Sequence[TrainingExample],
        question: Question,
        processor: Any,
        out: Path,
    ) -> None:
        self.trainer, self.recipe, self.question, self.out = trainer, recipe, question, out
        self.examples = evaluated_rows(held_out, recipe)
        template = load_template(recipe.template)
        self.rows = as_dataset(self.examples, template, recipe.shown_pixels)
        self.reader = AnswerReader(processor, AnswerPaths(processor, template))
        self.record, self.costs = out / RECORD, out / COSTS
        self.sharded = sharding(recipe) in {"fsdp", "zero3"}  # all processes must run the same forward passes
        self.warned: set[str] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any
    ) -> None:
        """Evaluate the model that the stage starts from; on a resume, drop the records after the checkpoint."""
        if rank() == 0:
            for file in (self.record, self.costs):
                lines = [line for line in read_lines(file) if line[STEP] <= state.global_step and state.global_step > 0]
                file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        if state.global_step == 0:
            self.evaluate(0, named["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any) -> None:
        """Evaluate at the recipe's interval and after the last step."""
        every = evaluation_interval(self.recipe.held_out_steps or state.save_steps, state.max_steps)
        if state.global_step % every == 0 or state.global_step == state.max_steps:
            self.evaluate(state.global_step, named["model"])

    def evaluate(self, step: int, model: Any) -> None:
        """Evaluate all rows and record the metrics; save the weights of the start and of each new best step. All
        processes must call this."""
        parts = gathered(self._stated(model))
        stated = [parts[n % processes()][n // processes()] for n in range(len(self.examples))]
        worth_saving = rank() == 0 and self._recorded(step, stated)
        if gathered(worth_saving)[0]:
            name = BEST if step else START
            save_result(self.trainer, self.out, name, self.question, **{STEP: {STEP: step}})

    def _stated(self, model: Any) -> list[Stated]:
        """What greedy decoding would state for this process's rows: its rank's, then every `processes()`th.

        With sharded weights, a process without rows left evaluates row 0 again, so that it takes part in each pass.
        """
        mine = list(range(rank(), len(self.examples), processes()))
        size, stated = self.recipe.ask_batch_size, list[Stated]()
        was_training = model.training
        model.eval()
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bool(self.trainer.args.bf16)):
            for start in range(0, -(-len(self.examples) // processes()), size):
                chosen = mine[start : start + size]
                if not chosen and not self.sharded:
                    continue
                rows = [self.rows[n] for n in chosen or [0]]
                stated += greedy_answers(model, rows, self.reader, any_process if self.sharded else bool)[: len(chosen)]
        model.train(was_training)
        return stated

    def _recorded(self, step: int, stated: Sequence[Stated]) -> bool:
        """Append this step's metrics and per-row costs to the records; True for the start and for a new best step."""
        truths = [example.sample.label for example in self.examples]
        now = costs(stated, truths)
        numbers = held_out_numbers(stated, truths) | self._gain(step, now)
        before = read_lines(self.record)
        self._warn(before[0] if before else numbers, numbers)
        print(
            f"  held out at step {step}: Brier {numbers['brier']:.4f}, accuracy {numbers['accuracy']:.3f}, "
            f"{numbers['distinct']:.0f} distinct values, {numbers['malformed']:.0%} malformed; "
            f"{numbers['gain']:+.4f} ± {numbers['gain_error']:.4f} better than the start",
            flush=True,
        )
        for file, line in ((self.costs, {"costs": now.tolist()}), (self.record, numbers)):
            with file.open("a") as stream:
                stream.write(json.dumps({STEP: step, **line}) + "\n")
        return step == 0 or best_step(read_costs(self.out)) == step

    def _gain(self, step: int, now: Floats) -> dict[str, float]:
        start = now if step == 0 else read_costs(self.out).get(0)
        if start is None:
            raise UserError(f"{self.costs}: missing; remove {self.out} and train the stage again from its start")
        return gain(start, now, [example.sample.cluster for example in self.examples])

    def _warn(self, first: dict[str, Any], now: dict[str, float]) -> None:
        """Warn once for each kind of alarm."""
        for alarm in alarms(first, now, len(self.examples)):
            if str(alarm).partition(":")[2] not in self.warned:
                self.warned.add(str(alarm).partition(":")[2])
                warnings.warn(alarm, stacklevel=2)


def evaluated_rows(held_out: Sequence[TrainingExample], recipe: Recipe) -> list[TrainingExample]:
    """The rows to evaluate: all, or the recipe's `held_out_rows` of them, sampled by its seed, in their order."""
    most = len(held_out) if recipe.held_out_rows is None else min(recipe.held_out_rows, len(held_out))
    drawn = np.random.default_rng(recipe.seed).permutation(len(held_out))[:most]
    return [held_out[n] for n in sorted(drawn.tolist())]


def evaluation_interval(steps: float, all_steps: int) -> int:
    """The number of steps between evaluations: `steps`, or below 1 that share of all steps (as in TRL's keys), at
    least 1."""
    return max(1, math.ceil(steps * all_steps) if steps < 1 else int(steps))


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a record, without truncated ones; empty where there is no file."""
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def read_costs(out: Path) -> dict[int, Floats]:
    """The Brier costs [rows] of each evaluation recorded in `out`, by step."""
    return {int(line[STEP]): np.array(line["costs"]) for line in read_lines(out / COSTS)}


def select_weights(out: Path, held_out: Sequence[TrainingExample], recipe: Recipe) -> tuple[Kept, str | None]:
    """Which step of a training in `out` stage 3 keeps, and the folder with its weights: START, BEST, or None for the
    last step's, which are already in the result's place."""
    costs, rows = read_costs(out), evaluated_rows(held_out, recipe)
    kept = select_step(costs, [example.sample.cluster for example in rows], recipe.gain_alpha)
    folder = START if kept.left_out else BEST if kept.step != max(costs) else None
    return kept, folder


def kept_step(weights: Path) -> int:
    """The step whose weights are stage 3's result; `weights` is the folder of its adapter or model."""
    return int(json.loads((weights / f"{STEP}.json").read_text())[STEP])
