"""Single runs for training.py: the same steps by plain TRL and by our variants, each in a process of its own.

What is learned is discarded.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from dataclasses import dataclass, fields
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.core.samples import Sample
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.data.embedded import load
from emocaliber.models.location import embedded_base
from emocaliber.stages.calibrate.draws import left_padding_processor, question_dataset, reward_function
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.fast.prompt_sharing import SharingGRPOTrainer
from emocaliber.stages.loading import load_processor, load_trainable
from emocaliber.stages.recipe import Recipe, load_recipe
from emocaliber.stages.supervised import sft_config, train_supervised, trainer_keys
from emocaliber.stages.targets import spread_over_levels
from emocaliber.stages.training import fixed_settings, read_log

ROOT = Path(__file__).parents[2]
RECIPES, ADAPTER = ROOT / "recipes" / "tiny", ROOT / "emocaliber" / "data" / "tiny-adapter"
BATCH, WARM = 64, 3
PLAIN = "plain TRL"
SUPERVISED: dict[str, tuple[str, ...] | None] = {
    PLAIN: None,
    "ours, pixels": ("keep_features=false", "packing=false"),
    "ours, kept features": ("keep_features=true", "packing=false"),
    "ours, kept features, packed": ("keep_features=true", "packing=true"),
}
WAYS: dict[str, dict[str, tuple[str, ...] | None]] = {
    "kaomoji": SUPERVISED,
    "distillation": SUPERVISED,
    "sizes": SUPERVISED,
    "grpo": {PLAIN: None, "ours, questions shared": ()},
}
Floats = list[float]


@dataclass(frozen=True)
class Run:
    """One run: wall-clock and CPU seconds of each step after the first few; then the rest."""

    steps: Floats
    cpu: Floats
    before: float
    peak_mib: float
    losses: Floats
    rewards: Floats


Examples = list[TrainingExample]


class Clock(TrainerCallback):
    """Records when each step ended."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.ends: list[float] = []
        self.cpu: list[float] = []
        self.first = 0.0

    def on_train_begin(self, *arguments: Any, **named: Any) -> None:
        """The data is ready, and cached pictures are cached."""
        self.first = time.perf_counter()

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        """Record one more step."""
        self.ends.append(time.perf_counter())
        self.cpu.append(time.process_time())


def kaomoji(rows: int) -> list[TrainingExample]:
    """The tiny recipe's first stage: rendered kaomoji and drawn emoji, labels only."""
    template = load_template("label")
    pool = [sample for task in ("kaomoji", "emoji") for sample in load(task) if sample.split == "train"]
    order = np.random.default_rng(0).permutation(len(pool))
    chosen = [pool[order[n % len(pool)]] for n in range(rows)]
    return [TrainingExample(sample, template.write(label=sample.label)) for sample in chosen]


def distillation(rows: int) -> list[TrainingExample]:
    """The tiny recipe's second stage: a soft target for the label and for the confidence."""
    template, random = load_template("label-confidence"), np.random.default_rng(0)
    examples = []
    for sample in kaomoji(rows):
        label = tuple(random.dirichlet(np.ones(len(sample.sample.candidates))).tolist())
        level = float(random.choice(LEVELS))
        answer = template.write(label=str(sample.sample.label), confidence=level)
        examples.append(TrainingExample(sample.sample, answer, label, spread_over_levels(level, 0.05)))
    return examples


def sizes(rows: int) -> list[TrainingExample]:
    """Noise of 56 to 280 pixels a side: 4 to 100 image tokens."""
    template, random = load_template("label"), np.random.default_rng(0)
    examples = []
    for n in range(rows):
        width, height = (int(side) for side in random.integers(56, 281, 2))
        stream = BytesIO()
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(stream, "PNG")
        label = KAOMOJI_10.labels[n % 10]
        sample = Sample(str(n), stream.getvalue(), "noise", KAOMOJI_10.labels, label, "train", "noise", str(n))
        examples.append(TrainingExample(sample, template.write(label=label)))
    return examples


TASKS = {"kaomoji": kaomoji, "distillation": distillation, "sizes": sizes, "grpo": kaomoji}
RECIPE = {"kaomoji": "1-label", "distillation": "2-verbalize", "sizes": "1-label", "grpo": "3-calibrate-grpo"}


def recipe_of(task: str, steps: int, *overrides: str) -> Recipe:
    """The tiny recipe of the task's stage, for a number of steps, without checkpoints."""
    short = [f"max_steps={steps}", f"per_device_train_batch_size={BATCH}", "logging_steps=1", "save_strategy='no'"]
    keys = {field.name for field in fields(GRPOConfig)} if task == "grpo" else trainer_keys()
    return load_recipe(RECIPES / f"{RECIPE[task]}.yaml", keys, [*short, *overrides])


def measured(task: str, way: str, steps: int, rows: int) -> Run:
    """Train in this process, and return the cost."""
    clock, examples, train = Clock(), TASKS[task](rows), drawn if task == "grpo" else supervised
    with tempfile.TemporaryDirectory() as folder:
        recipe = recipe_of(task, steps, *(WAYS[task][way] or ()))
        earned, losses = train(recipe, examples, Path(folder), WAYS[task][way] is None, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took, cpu = ([after - before for before, after in pairwise(times[WARM - 1 :])] for times in (clock.ends, clock.cpu))
    return Run(took, cpu, clock.first - clock.began, peak, losses, earned)


def supervised(recipe: Recipe, examples: Examples, out: Path, plain: bool, clock: Clock) -> tuple[Floats, Floats]:
    """Stages 1 and 2: no rewards, and the losses."""
    base = str(embedded_base())
    if not plain:
        train_supervised(recipe, examples, base, None, out, title=recipe.stage, callbacks=[clock])
        return [], [line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line]
    trainer = SFTTrainer(
        model=load_trainable(recipe, base, None),
        args=sft_config(recipe, out),
        train_dataset=as_dataset(examples, load_template(recipe.template)),
        processing_class=load_processor(base),
        callbacks=[clock],
    )
    trainer.train()
    return [], [line["loss"] for line in trainer.state.log_history if "loss" in line]


def drawn(recipe: Recipe, examples: Examples, out: Path, plain: bool, clock: Clock) -> tuple[Floats, Floats]:
    """Stage 3 by GRPO, from the adapter that ships: the mean rewards and the losses."""
    base = str(embedded_base())
    method = GRPOTrainer if plain else SharingGRPOTrainer
    settings = recipe.trainer | fixed_settings(recipe, out) | {"scale_rewards": "none"}
    trainer = method(
        model=load_trainable(recipe, base, ADAPTER),
        args=GRPOConfig(**settings),
        reward_funcs=[reward_function(recipe)],
        train_dataset=question_dataset(examples, load_template(recipe.template)),
        processing_class=left_padding_processor(recipe, base),
        callbacks=[clock],
    )
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    return [line["reward"] for line in lines], [line["loss"] for line in lines]


def apart(task: str, way: str, steps: int, rows: int) -> Run:
    """`measured` in a separate process, with its output discarded, so that its peak memory is its own."""
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send, args=(there, task, way, steps, rows))
    process.start()
    there.close()
    try:
        run: Run = here.recv()
    except EOFError as error:
        raise SystemExit(f"{task}, {way}: the run failed; what it said stands above") from error
    process.join()
    return run


def _send(pipe: Any, *what: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    pipe.send(measured(*what))
