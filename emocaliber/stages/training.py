"""Run one stage's trainer: load model and adapter, go on from the newest complete checkpoint, save the adapter.

Not a trainer: the loops are TRL's. What is written: `checkpoints/` while it runs, `log.jsonl` (one line per logged
step), and at the end `adapter/`, moved into place whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    PreTrainedModel,
    ProcessorMixin,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.image_utils import SizeDict

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import replace_folder
from emocaliber.models.adapters import adapted
from emocaliber.stages.profiling import watch
from emocaliber.stages.recipe import Recipe

GATHERED = "stage3_gather_16bit_weights_on_model_save"
CHECKPOINTS, LOG, ADAPTER, MODEL = "checkpoints", "log.jsonl", "adapter", "model"
REFERENCE = "ref"  # the name that TRL gives the frozen start of DPO, KTO, RLOO and GRPO with beta above 0


def fixed_settings(recipe: Recipe, out: Path) -> dict[str, Any]:
    """The keys of any TRL configuration that the stages set themselves, whatever the recipe says."""
    return {
        "output_dir": str(out / CHECKPOINTS),
        "seed": recipe.seed,
        "remove_unused_columns": False,
        "save_total_limit": 2,
        "report_to": recipe.trainer.get("report_to", "none"),
    }


def load_processor(model: str, max_pixels: int | None = None) -> ProcessorMixin:
    """The processor of a model folder or hub name, with the recipe's limit on a picture's size.

    Raises UserError where it cannot be found, or has no such limit.
    """
    try:
        processor: ProcessorMixin = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise UserError(missing_model(model, error)) from error
    if max_pixels is not None:
        limit_pixels(processor, max_pixels)
    return processor


def missing_model(model: str, error: OSError) -> str:
    """What to tell a person whose model is not there."""
    first = str(error).strip().splitlines()[0]
    return f"{model}: the model cannot be loaded ({first}); give model=FOLDER, or log in and download it first"


def limit_pixels(processor: Any, max_pixels: int) -> None:
    """Set the size in pixels above which pictures are scaled down; raises UserError where this family has none.

    Qwen's processors have such a limit; SmolVLM and InternVL cut pictures into tiles instead.
    """
    size = processor.image_processor.size
    if size.shortest_edge is None or size.longest_edge is None:
        raise UserError(f"max_pixels: {type(processor).__name__} has no such limit; take the key out of the recipe")
    smallest = min(size.shortest_edge, max_pixels)
    processor.image_processor.size = SizeDict(shortest_edge=smallest, longest_edge=max_pixels)


def load_trainable(recipe: Recipe, model: str, adapter: Path | None) -> PreTrainedModel | PeftModel:
    """The model with the adapter to be trained on: the given one goes on, or a fresh one as the recipe says.

    With `tuning: full` there is none, and every weight learns. Raises UserError where the model cannot be loaded, is
    no vision-language model, or `lora_target` names none of its modules.
    """
    base = load_base(recipe, model)
    if recipe.tuning == "full":
        return base
    if adapter is not None:
        return adapted(base, adapter, trainable=True)
    if not any(re.fullmatch(recipe.lora_target, name) for name, _ in base.named_modules()):
        raise UserError(
            f"{recipe.path}: lora_target matches no module of {model} ({type(base).__name__});"
            " SmolVLM's language model is called text_model, the others' language_model"
        )
    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        target_modules=recipe.lora_target,
        task_type="CAUSAL_LM",
    )
    fresh: PeftModel = get_peft_model(base, config)
    return fresh


def load_base(recipe: Recipe, model: str) -> PreTrainedModel:
    """The weights beneath, quantised where the recipe says so. Raises UserError where they cannot be loaded."""
    named: dict[str, Any] = {}
    if recipe.quantization != "none":
        device = "cpu" if recipe.trainer.get("use_cpu") else f"cuda:{os.environ.get('LOCAL_RANK') or 0}"
        named = {"quantization_config": quantized(recipe), "device_map": {"": device}}
    try:
        base: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(
            model, dtype="auto", use_safetensors=True, **named
        )
    except OSError as error:
        raise UserError(missing_model(model, error)) from error
    except ImportError as error:
        if recipe.quantization == "none":
            raise
        raise UserError(
            f"{recipe.path}: quantization needs bitsandbytes: pip install 'emocaliber[quantization]'"
        ) from error
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise UserError(f"{model}: this is no vision-language model that transformers knows") from error
    return base


def quantized(recipe: Recipe) -> BitsAndBytesConfig:
    """How the frozen language model is held; what sees the picture keeps its precision."""
    names = ("visual", "vision_tower", "vision_model", "connector", "multi_modal_projector", "lm_head")
    kept = [f".*{name}" for name in names]  # matched from the beginning of "model.visual.blocks.0..."
    configured: Any = BitsAndBytesConfig
    if recipe.quantization == "int8":
        return configured(load_in_8bit=True, llm_int8_skip_modules=kept)  # type: ignore[no-any-return]
    return configured(  # type: ignore[no-any-return]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32 if recipe.trainer.get("use_cpu") else torch.bfloat16,
        llm_int8_skip_modules=kept,
    )


def result_name(recipe: Recipe) -> str:
    """The folder of a stage's result: an adapter, or a whole model where every weight learned."""
    return ADAPTER if recipe.tuning == "lora" else MODEL


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; the trainer's state is the last file of each."""
    complete = [c for c in folder.glob("checkpoint-*") if _is_complete(c)]
    return max(complete, key=lambda c: int(c.name.rpartition("-")[2]), default=None)


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return True


def finish(trainer: Trainer, out: Path, name: str) -> None:
    """Train to the end, from the newest checkpoint where there is one, and put the result in place as `out/name`."""
    plugin = trainer.accelerator.state.deepspeed_plugin
    if plugin is not None:
        refuse_pieces(plugin.hf_ds_config)
    checkpoint = newest_checkpoint(out / CHECKPOINTS)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        for broken in set((out / CHECKPOINTS).glob("checkpoint-*")) - {checkpoint}:
            shutil.rmtree(broken)
        if checkpoint is not None:
            # Beside the adapter that learns, some of TRL's methods keep their start as a second one. Where a checkpoint
            # holds it, transformers 5.19 loads it alone and forgets what was learned; the start is known without it.
            shutil.rmtree(checkpoint / REFERENCE, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    watch(trainer)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    save_result(trainer, out, name)


def refuse_pieces(config: HfDeepSpeedConfig) -> None:
    """Raises UserError where ZeRO-3 would leave the result in pieces, pickled, that only DeepSpeed puts together."""
    if config.is_zero3() and not config.is_true(f"zero_optimization.{GATHERED}"):
        raise UserError(
            "DeepSpeed ZeRO-3 would leave no whole weights; set zero3_save_16bit_model: true as"
            f" recipes/accelerate/zero3.yaml does, or in DeepSpeed's own file zero_optimization.{GATHERED}: true"
        )


def save_result(trainer: Trainer, out: Path, name: str) -> None:
    """Write the result beside its place, then move it there: a reader never sees half of it."""
    partial = out / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        trainer.save_model(str(partial))  # gathers what the processes hold; all of them must take part
    elif trainer.is_world_process_zero():
        learned: dict[str, Any] = {"selected_adapters": ["default"]} if name == ADAPTER else {}
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(
            str(partial), safe_serialization=True, **learned
        )
    if trainer.is_world_process_zero():
        (partial / "training_args.bin").unlink(missing_ok=True)
        if name == MODEL:
            processor: Any = trainer.processing_class
            processor.save_pretrained(str(partial))
        replace_folder(partial, out / name)
    trainer.accelerator.wait_for_everyone()


class Log(TrainerCallback):
    """Writes each logged step to `log.jsonl`, drops what a killed run wrote beyond its checkpoint, shows progress."""

    def __init__(self, out: Path, title: str) -> None:
        self.path, self.title, self.began = out / LOG, title, time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep the lines up to the step that training goes on from."""
        if not state.is_world_process_zero:
            return
        kept = [line for line in read_log(self.path) if line["step"] <= state.global_step]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in kept))
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
    """The lines of a log; none where there is no log, and a torn last line is left out."""
    lines = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
