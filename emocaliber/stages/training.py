"""Run one stage's trainer from its newest complete checkpoint to the end, and move the result into place.

Writes `checkpoints/` while it runs, `log.jsonl` (one line per logged step), and at the end `adapter/` (`model/` after
full fine-tuning) in one move, with the question that it was trained for (emocaliber.json). The training loops are
TRL's.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from accelerate.utils.deepspeed import HfDeepSpeedConfig
from peft import PeftModel
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import replace_folder
from emocaliber.models.location import Question, write_question
from emocaliber.stages.launch import processes, rank
from emocaliber.stages.profiling import profile_trainer
from emocaliber.stages.recipe import Recipe

GATHERED = "stage3_gather_16bit_weights_on_model_save"
CHECKPOINTS, LOG, ADAPTER, MODEL = "checkpoints", "log.jsonl", "adapter", "model"
COMPLETE = "complete.json"  # in a checkpoint: written last, once every process has written its files
START = "start"  # the weights that stage 3 starts from, in case its result is no better
REFERENCE = "ref"  # TRL's name for the frozen reference adapter of DPO, KTO, RLOO and GRPO with beta above 0


def fixed_settings(recipe: Recipe, out: Path) -> dict[str, Any]:
    """The keys of any TRL configuration that the stages set, overriding the recipe."""
    return {
        "output_dir": str(out / CHECKPOINTS),
        "seed": recipe.seed,
        "remove_unused_columns": False,
        "save_total_limit": 2,
        "report_to": recipe.trainer.get("report_to", "none"),
    }


def result_name(recipe: Recipe) -> str:
    """The name of a stage's result folder: an adapter, or a model after full fine-tuning."""
    return ADAPTER if recipe.tuning == "lora" else MODEL


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that every process finished writing."""
    complete = [checkpoint for checkpoint in folder.glob("checkpoint-*") if (checkpoint / COMPLETE).is_file()]
    return max(complete, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]), default=None)


class CompleteCheckpoints(TrainerCallback):
    """Marks a checkpoint as complete once all processes have written their files."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called when each process has written its part."""
        self.trainer.accelerator.wait_for_everyone()
        if rank() == 0:
            checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            partial = checkpoint / f"{COMPLETE}.partial"
            partial.write_text(json.dumps({"step": state.global_step, "processes": processes()}))
            partial.replace(checkpoint / COMPLETE)


def finish(trainer: Trainer, out: Path, name: str, question: Question) -> None:
    """Train to the end, resuming from the newest checkpoint, and move the result to `out/name`."""
    plugin = trainer.accelerator.state.deepspeed_plugin
    if plugin is not None:
        refuse_sharded_result(plugin.hf_ds_config)
    checkpoint = newest_checkpoint(out / CHECKPOINTS)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        for broken in set((out / CHECKPOINTS).glob("checkpoint-*")) - {checkpoint}:
            shutil.rmtree(broken)
        if checkpoint is not None:
            # Some of TRL's methods keep a frozen reference adapter beside the trained one. From a checkpoint with both,
            # transformers 5.19 loads the reference alone. It is not needed: TRL has just copied it from the start.
            shutil.rmtree(checkpoint / REFERENCE, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(CompleteCheckpoints(trainer))
    profile_trainer(trainer)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    save_result(trainer, out, name, question)


def refuse_sharded_result(config: HfDeepSpeedConfig) -> None:
    """Raises UserError where ZeRO-3 would write the result as pickled shards that only DeepSpeed can merge."""
    if config.is_zero3() and not config.is_true(f"zero_optimization.{GATHERED}"):
        raise UserError(
            "DeepSpeed ZeRO-3 would save only shards of the weights; set zero3_save_16bit_model: true as"
            f" recipes/accelerate/zero3.yaml does, or in DeepSpeed's own file zero_optimization.{GATHERED}: true"
        )


def save_result(trainer: Trainer, out: Path, name: str, question: Question, **more: Any) -> None:
    """Write the adapter or model to `out/name` atomically. All processes must call this. Each of `more` is written
    beside the weights as a JSON file of that name.
    """
    partial = out / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    learned: dict[str, Any] = {"selected_adapters": ["default"]} if isinstance(model, PeftModel) else {}
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        trainer.save_model(str(partial))  # gathers the shards of all processes; each of them must call it
    elif trainer.is_world_process_zero():
        model.save_pretrained(str(partial), safe_serialization=True, **learned)
    if trainer.is_world_process_zero():
        (partial / "training_args.bin").unlink(missing_ok=True)
        shutil.rmtree(partial / REFERENCE, ignore_errors=True)
        if not learned:
            processor: Any = trainer.processing_class
            processor.save_pretrained(str(partial))
        write_question(partial, question)
        for file, content in more.items():
            (partial / f"{file}.json").write_text(json.dumps(content))
        replace_folder(partial, out / name)
    trainer.accelerator.wait_for_everyone()


class Log(TrainerCallback):
    """Appends each logged step to `log.jsonl`, drops what a killed run logged after its checkpoint, prints progress."""

    def __init__(self, out: Path, title: str) -> None:
        self.path, self.title, self.began = out / LOG, title, time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep the lines up to the step at which training resumes."""
        if not state.is_world_process_zero:
            return
        lines = [line for line in read_log(self.path) if line["step"] <= state.global_step]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.began = time.monotonic()
        self.first = state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Append the numbers of this step."""
        numbers = {k: v for k, v in (logs or {}).items() if isinstance(v, int | float) and not k.startswith("train_")}
        if not (numbers and state.is_world_process_zero):
            return
        with self.path.open("a") as file:
            file.write(json.dumps({"step": state.global_step, **numbers}) + "\n")
        if "loss" in numbers:
            spent = time.monotonic() - self.began
            left = spent / max(state.global_step - self.first, 1) * (state.max_steps - state.global_step)
            print(
                f"  {self.title}: step {state.global_step}/{state.max_steps}, loss {numbers['loss']:.3f}, "
                f"{spent:.0f} s, {left:.0f} s left",
                flush=True,
            )


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, without a truncated last line; empty where there is no log."""
    lines = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
