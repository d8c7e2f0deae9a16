"""One stage from its recipe: `emocaliber train RECIPE --out DIR`, resumable, by one process or several.

Stages 2 and 3 start from the adapter of the stage before, given by `--adapter`; `emocaliber run` chains all three. What
is decided here is the folder's bookkeeping and each process's place in its launch: the stages themselves are in
emocaliber.stages.

    train(read_recipe(Path("recipes/tiny/1-label.yaml")), None, Path("out/1-label"))
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from safetensors import SafetensorError
from transformers.integrations.integration_utils import get_available_reporting_integrations

from emocaliber.core.errors import UserError, out_of_space
from emocaliber.core.outputs import discard
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import samples_in
from emocaliber.data.policy import Dropping, Policy, unlearnable
from emocaliber.data.sample_table import questions
from emocaliber.runs.launches import Launcher, refuse_launch
from emocaliber.runs.reach import configuration, model_without_weights, refuse_partial
from emocaliber.runs.recipes import trackers_of
from emocaliber.runs.resume import done_result, inputs_of, step
from emocaliber.runs.teacher import forget_answers, open_teacher
from emocaliber.stages.examples import in_splits, learns_rationales
from emocaliber.stages.fast.families import refuse_drawing, refuse_packing
from emocaliber.stages.fast.feature_cache import FEATURES
from emocaliber.stages.fast.vision_features import STORED
from emocaliber.stages.label import label
from emocaliber.stages.launch import sharding
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import CHECKPOINTS, START
from emocaliber.stages.verbalize import verbalize

Result = TypeVar("Result")
PATIENCE = timedelta(hours=12)
"""How long a process waits for the others: querying a teacher takes hours, and one may be far behind (torch's own limit
is ten minutes)."""


BOARDS = "runs"  # tensorboard's folder, which transformers puts among the checkpoints
COMPLETIONS = "completions"  # where TRL writes sampled answers, with log_completions
CARD = "README.md"  # TRL's model card among the checkpoints


def train(recipe: Recipe, adapter: Path | None, out: Path, *, features: Path | None = None) -> dict[str, Any]:
    """Run one stage in `out`, which ends with `out/adapter` (`out/model` where every weight learns).

    `features` is where the stage before left what its frozen vision tower saw, and where this one leaves it for the
    next; without it, it is removed. Returns what the stage learned from, for the report. Raises UserError where a later
    stage is given no adapter, a split overlaps another, the folder was started with other inputs, or the machine is too
    small.
    """
    if recipe.stage != "label" and adapter is None and recipe.tuning == "lora":
        raise UserError(f"{recipe.path}: stage {recipe.stage} goes on from an adapter; give it with --adapter DIR")
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter}: no adapter lies here; a stage leaves it in the folder `adapter` of its --out")
    refuse_missing(recipe)
    processes = join(recipe)
    rows = samples_in(recipe.data)
    dropping = by_main(lambda: _dropping(recipe, rows))
    read, rows = len(rows), rows.take([i for i in range(len(rows)) if i not in dropping.rows])
    chosen = in_splits(rows, recipe.splits, recipe.data)
    refuse_one_label(recipe, chosen)
    inputs = by_main(lambda: inputs_of(recipe, adapter, chosen))
    if (result := done_result(out, inputs)) is not None:
        return result
    if adapter is None:
        refuse_partial(recipe, model_without_weights(recipe))
    if recipe.packing:
        refuse_packing(configuration(recipe).model_type, recipe.path)
    if recipe.stage == "calibrate" and recipe.method in ("grpo", "rloo"):
        refuse_drawing(configuration(recipe).model_type, recipe.path)
    with step(out, inputs) if processes.is_main_process else nullcontext(dict[str, Any]()) as result:
        processes.wait_for_everyone()
        if dropping.rows and processes.is_main_process:
            dropping.write(out / "dropped.jsonl")
            print(dropping.sentence(read, out / "dropped.jsonl"))
        with explained(recipe, out), carried(features, out / FEATURES):
            result.update(_stage(recipe)(recipe, rows, adapter, out, open_teacher))
            if processes.is_main_process:
                keep_boards(out / CHECKPOINTS)
                discard(out / CHECKPOINTS, "checkpoint-*", BOARDS, COMPLETIONS, CARD)
                discard(out, START)  # after the checkpoints: one of them would need it
                forget_answers(out)
    return result


def _stage(recipe: Recipe) -> Callable[..., dict[str, Any]]:
    if recipe.stage == "calibrate":
        from emocaliber.stages.calibrate.stage import calibrate  # TRL's samplers take seconds that other stages save

        return calibrate
    return {"label": label, "verbalize": verbalize}[recipe.stage]


def refuse_one_label(recipe: Recipe, rows: Sequence[Sample]) -> None:
    """Raises UserError where a task leaves nothing to choose."""
    for task, labels in questions(rows):
        if len(labels) < 2:
            only = f"the one label {labels[0]!r}" if labels else "no labels"
            raise UserError(
                f"{recipe.path}: data: task {task!r} has {only} to choose from; name two or more when you convert the"
                " data: `emocaliber data convert SOURCE --labels joy,fear,... --out FILE`"
            )


def _dropping(recipe: Recipe, rows: Sequence[Sample]) -> Dropping:
    """The rows that may not be learned from, by the recipe's policy."""
    return unlearnable(
        rows,
        Policy(recipe.drop_problems, recipe.max_dropped),
        label_needed=recipe.splits if recipe.stage == "label" else (),
        votes=recipe.target == "votes",
        rationale_needed=recipe.splits if learns_rationales(recipe) else (),
        workers=os.cpu_count() or 1,
    )


@contextmanager
def carried(features: Path | None, here: Path) -> Iterator[None]:
    """Features lie in `here` meanwhile; after a stop they are found there, since nothing is copied."""
    alone = PartialState().num_processes == 1
    if features is not None and alone and features.is_dir() and not here.is_dir():
        features.rename(here)
    yield
    if features is not None and alone and here.is_dir():
        discard(features, *STORED)  # of a stage that was done again meanwhile
        if not features.exists():
            here.rename(features)
    elif PartialState().is_main_process:
        discard(here, *STORED)


@contextmanager
def explained(recipe: Recipe, out: Path) -> Iterator[None]:
    """Say in one sentence what to do where memory or disk run out; what was saved stays, and the run can be resumed."""
    try:
        yield
    except Exception as error:
        match out_of_space(error):
            case "memory":
                raise UserError(
                    f"{recipe.path}: the memory is full; halve per_device_train_batch_size and double"
                    " gradient_accumulation_steps, lower max_pixels or lora_r, or give quantization=nf4 (see"
                    " `emocaliber recipe estimate`)"
                ) from error
            case "disk":
                raise UserError(f"{out}: the disk is full; free some, and run again: it resumes") from error
        if isinstance(error, SafetensorError):
            raise UserError(
                f"{recipe.path}: weights of {recipe.model} or of the adapter cannot be read ({error}): the file is"
                " broken off; fetch or write it again"
            ) from error
        raise


def refuse_missing(recipe: Recipe) -> None:
    """Raises UserError where a tracker is not installed, before the run has done an hour's work."""
    there = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    if missing := [name for name in trackers_of(recipe) if name not in there]:
        raise UserError(
            f"{recipe.path}: report_to: {missing[0]} is not installed here; install it, or give report_to=none"
            " (log.jsonl holds the same figures)"
        )


def keep_boards(checkpoints: Path) -> None:
    """Copy tensorboard's files beside the checkpoints, which go when the stage is finished; again after a kill."""
    if (checkpoints / BOARDS).is_dir():
        shutil.copytree(checkpoints / BOARDS, checkpoints.with_name(BOARDS), dirs_exist_ok=True)


def join(recipe: Recipe) -> PartialState:
    """This process's place among those that were launched together: alone, where it was started by itself.

    Raises UserError where the recipe needs a GPU and there is none, where the launch parts what cannot be parted, and
    where one process sees several GPUs.
    """
    on_cpu = bool(recipe.trainer.get("use_cpu", False))
    if not on_cpu and not torch.cuda.is_available():
        raise UserError(
            f"{recipe.path}: there is no GPU here; add use_cpu=true bf16=false (a small model only), or run"
            " `emocaliber recipe validate` and `emocaliber recipe estimate`, which need none"
        )
    refuse_here(recipe, gpus=0 if on_cpu else torch.cuda.device_count())
    return PartialState(cpu=on_cpu, timeout=PATIENCE)


def by_main(work: Callable[[], Result]) -> Result:
    """What `work` returns to the main process, for every process; the others wait. Its UserError is raised in each."""
    outcome: list[Any] = [None, None]
    if PartialState().is_main_process:
        try:
            outcome = [work(), None]
        except UserError as error:
            outcome = [None, str(error)]
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.broadcast_object_list(outcome)
    result, sentence = outcome
    if sentence is not None:
        raise UserError(sentence)
    return result  # type: ignore[no-any-return]


def refuse_here(recipe: Recipe, *, gpus: int) -> None:
    """Raises UserError for what would do nothing, fail at its first step, or leave pieces; see the table in
    recipes/accelerate/README.md.
    """
    launcher = launcher_here(recipe)
    if launcher == "fsdp2" and recipe.trainer.get("use_cpu"):
        raise UserError(
            f"{recipe.path}: FSDP parts nothing on a CPU and does not say so; take it out, or give deepspeed=FILE"
        )
    refuse_launch(recipe, launcher)
    if gpus > 1 and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise UserError(
            f"{recipe.path}: one process sees {gpus} GPUs and would train on none of them rightly; set"
            f" CUDA_VISIBLE_DEVICES=0, or start it by accelerate launch --num_processes {gpus}"
        )


def launcher_here(recipe: Recipe) -> Launcher:
    """The launcher that started this process, by what it left in the environment and by the recipe's own keys."""
    if (parted := sharding(recipe)) != "none":
        return "fsdp2" if parted == "fsdp" else parted
    return "ddp" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else "single"
