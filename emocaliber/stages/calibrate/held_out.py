"""Evaluate the stated confidence on a held-out slice of the calibration split while stage 3 trains.

The test split is never seen here, and nothing is generated (see greedy): forward passes, shared out among the
processes, read which label, which level and which form greedy decoding would now follow the held-out answers with. What
is kept in the end is decided in selection; the start's weights and those of the step with the least held-out Brier
score are saved for it, beside the last step's.

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
from emocaliber.stages.calibrate.selection import Kept, keep, least
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.launch import any_process, gathered, processes, rank, sharding
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import START, save_result

BEST, STEP = "best", "step"
RECORD, COSTS = "held_out.jsonl", "held_out_costs.jsonl"


class HeldOutCallback(TrainerCallback):
    """Records Brier, calibration error, mean, spread and number of distinct stated levels; saves the start and the best
    step.

    `processor` encodes questions and pictures; every process evaluates its part of the rows, `question` goes beside
    what is saved.
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
        self.examples = drawn_rows(held_out, recipe)
        template = load_template(recipe.template)
        self.rows = as_dataset(self.examples, template, recipe.shown_pixels)
        self.reader = AnswerReader(processor, AnswerPaths(processor, template))
        self.record, self.costs = out / RECORD, out / COSTS
        self.in_step = sharding(recipe) in {"fsdp", "zero3"}  # the weights are gathered by all processes together
        self.warned: set[str] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any
    ) -> None:
        """Record the model that the stage starts from; after a stop, drop what lies beyond the checkpoint."""
        if rank() == 0:
            for file in (self.record, self.costs):
                lines = [line for line in lines_of(file) if line[STEP] <= state.global_step and state.global_step > 0]
                file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        if state.global_step == 0:
            self.evaluate(0, named["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any) -> None:
        """Evaluate each so many steps and after the last."""
        every = steps_between(self.recipe.held_out_steps or state.save_steps, state.max_steps)
        if state.global_step % every == 0 or state.global_step == state.max_steps:
            self.evaluate(state.global_step, named["model"])

    def evaluate(self, step: int, model: Any) -> None:
        """Read all rows, record the figures, save the start, and each step that is better than all before it. Every
        process takes part."""
        parts = gathered(self._stated(model))
        stated = [parts[n % processes()][n // processes()] for n in range(len(self.examples))]
        worth_saving = rank() == 0 and self._recorded(step, stated)
        if gathered(worth_saving)[0]:
            name = BEST if step else START
            save_result(self.trainer, self.out, name, self.question, **{STEP: {STEP: step}})

    def _stated(self, model: Any) -> list[Stated]:
        """What greedy decoding would state for this process's rows: those of its rank, the rank after that, and so on.

        Where the weights are parted, a process that has no row left reads one again while others still read.
        """
        mine = list(range(rank(), len(self.examples), processes()))
        size, stated = self.recipe.ask_batch_size, list[Stated]()
        was_training = model.training
        model.eval()
        short = torch.autocast(model.device.type, torch.bfloat16, enabled=bool(self.trainer.args.bf16))
        with short:
            for start in range(0, -(-len(self.examples) // processes()), size):
                chosen = mine[start : start + size]
                if not chosen and not self.in_step:
                    continue
                rows = [self.rows[n] for n in chosen or [0]]
                stated += greedy_answers(model, rows, self.reader, any_process if self.in_step else bool)[: len(chosen)]
        model.train(was_training)
        return stated

    def _recorded(self, step: int, stated: Sequence[Stated]) -> bool:
        """Write what was stated at this step to the record; whether its weights are the start's or the best so far."""
        truths = [example.sample.label for example in self.examples]
        now = costs(stated, truths)
        numbers = held_out_numbers(stated, truths) | self._gain(step, now)
        before = lines_of(self.record)
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
        return step == 0 or least(costs_of(self.out)) == step

    def _gain(self, step: int, now: Floats) -> dict[str, float]:
        start = now if step == 0 else costs_of(self.out).get(0)
        if start is None:
            raise UserError(f"{self.costs}: missing; remove {self.out} and train the stage again from its start")
        return gain(start, now, [example.sample.cluster for example in self.examples])

    def _warn(self, first: dict[str, Any], now: dict[str, float]) -> None:
        """Each kind of trouble once a training."""
        for alarm in alarms(first, now, len(self.examples)):
            if str(alarm).partition(":")[2] not in self.warned:
                self.warned.add(str(alarm).partition(":")[2])
                warnings.warn(alarm, stacklevel=2)


def drawn_rows(held_out: Sequence[TrainingExample], recipe: Recipe) -> list[TrainingExample]:
    """The rows that are evaluated: all of them, or as many as the recipe says, drawn by its seed, in their order."""
    most = len(held_out) if recipe.held_out_rows is None else min(recipe.held_out_rows, len(held_out))
    drawn = np.random.default_rng(recipe.seed).permutation(len(held_out))[:most]
    return [held_out[n] for n in sorted(drawn.tolist())]


def steps_between(steps: float, all_steps: int) -> int:
    """A number of steps, or below 1 a share of all steps, as TRL's own keys have it; at least 1."""
    return max(1, math.ceil(steps * all_steps) if steps < 1 else int(steps))


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The lines of a record; none where there is no file, and a line that was broken off is left out."""
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def costs_of(out: Path) -> dict[int, Floats]:
    """What each look in `out` cost, row by row, by its step."""
    return {int(line[STEP]): np.array(line["costs"]) for line in lines_of(out / COSTS)}


def kept_of(out: Path, held_out: Sequence[TrainingExample], recipe: Recipe) -> tuple[Kept, str | None]:
    """What stage 3 keeps of a training in `out`, and the folder there that holds it: START, BEST, or None for the last
    step's, which stands where the result belongs."""
    costs, rows = costs_of(out), drawn_rows(held_out, recipe)
    kept = keep(costs, [example.sample.cluster for example in rows], recipe.gain_alpha)
    folder = START if kept.left_out else BEST if kept.step != max(costs) else None
    return kept, folder


def kept_step(weights: Path) -> int:
    """The step whose weights stage 3 left as its result, in the folder of its adapter or model."""
    return int(json.loads((weights / f"{STEP}.json").read_text())[STEP])
