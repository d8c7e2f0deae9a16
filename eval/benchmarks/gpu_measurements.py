"""What gpu.py measures: stages 1 and 3, a packed batch beside plain TRL's, attention, generation and an export.

Each function takes a Bench and returns the cells of one table row.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, TrainerCallback
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling, SFTTrainer

from emocaliber.core.prompting import load_template
from emocaliber.data.parquet import read_samples
from emocaliber.generation.respond import respond
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.runs.estimate import GIB, estimate
from emocaliber.runs.export import export
from emocaliber.runs.finished import finished_stage
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.train import train
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.preferences import calibrate_by_preferences
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss
from emocaliber.stages.calibrate.reinforcement import calibrate_by_grpo, calibrate_by_rloo
from emocaliber.stages.examples import as_dataset
from emocaliber.stages.fast.packing import use_packing
from emocaliber.stages.loading import load_processor, load_trainable
from emocaliber.stages.pairs import read_pairs
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.soft_targets import SoftTargetCollator, SoftTargetTrainer, cross_entropy
from emocaliber.stages.supervised import sft_config, train_supervised
from emocaliber.stages.targets import label_examples
from emocaliber.stages.training import read_log
from tests.runs.few_rows import answers_in_pairs
from tests.runs.short_runs import answers

PLAIN, PACKED = "plain TRL, LoRA", "LoRA, packed"
VARIANTS: dict[str, list[str]] = {
    PACKED: ["packing=true", "keep_features=false"],
    PLAIN: ["packing=false", "keep_features=false"],
    "LoRA, padded": ["packing=false", "keep_features=false"],
    "LoRA, packed, features kept": ["packing=true"],
    "QLoRA (nf4), packed": ["packing=true", "keep_features=false", "quantization=nf4"],
    "full, packed": ["packing=true", "tuning=full"],
}
NEEDS = {"quantization=nf4": "bitsandbytes"}
DRAWN = ["num_generations=2", "max_completion_length=16", "use_vllm=false"]
METHODS = {"proper": [], "grpo": [*DRAWN, "beta=0.01"], "rloo": [*DRAWN, "beta=0.01"], "dpo": [], "kto": []}
LOSS_WITHIN, GRADIENTS_WITHIN = 0.01, 0.05
"""Of bf16, whose last place is 1/256: relative, the gradients' as the length of their difference."""


class NotInstalledError(Exception):
    """A package that a measurement needs is missing."""


class Clock(TrainerCallback):
    """Records when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        synchronize()
        self.ends.append(time.monotonic())


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: device, model and data, the keys common to all recipes, and the number of steps."""

    device: str
    recipes: Path
    model: Path
    data: Path
    common: list[str]
    steps: int
    folder: Path

    def recipe(self, file: str, *changes: str) -> Recipe:
        """A recipe of the architecture with the common keys."""
        return read_recipe(self.recipes / f"{file}.yaml", [*self.common, *changes])

    def autocast(self) -> torch.autocast:
        """Autocast as the trainers use it."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def stage_1(bench: Bench, title: str, losses_of: dict[str, list[float]]) -> str:
    """Samples/s after the first step, peak memory beside the estimate, and the losses."""
    changes = VARIANTS[title]
    if missing := next((NEEDS[key] for key in changes if key in NEEDS and not installed(NEEDS[key])), None):
        raise NotInstalledError(missing)
    recipe, clock, out = bench.recipe("1-label", *changes), Clock(), bench.folder / title.replace(" ", "-")
    template = load_template(recipe.template)
    examples = label_examples(read_samples(bench.data, "train"), template)
    if title == PLAIN:
        trainer = SFTTrainer(
            model=load_trainable(recipe, str(bench.model), None),
            args=sft_config(recipe, out),
            train_dataset=as_dataset(examples, template, recipe.shown_pixels),
            processing_class=load_processor(str(bench.model), recipe.max_pixels),
            callbacks=[clock],
        )
        trainer.train()
        losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    else:
        train_supervised(recipe, examples, str(bench.model), None, out, title=title, callbacks=[clock])
        losses = [line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line]
    losses_of[title] = losses
    counted = estimate(recipe)
    speed = counted.rows_per_step * (len(clock.ends) - 1) / (clock.ends[-1] - clock.ends[0])
    shown = ", ".join(f"{loss:.4f}" for loss in losses)
    return f"{speed:.2f} | {peak()} | {counted.training_bytes / GIB:.2f} | {shown}"


def installed(package: str) -> bool:
    """Whether the package can be imported."""
    return importlib.util.find_spec(package) is not None


def peak() -> str:
    """The most memory that PyTorch held since the row began, in GiB."""
    return f"{torch.cuda.max_memory_allocated() / GIB:.2f}" if torch.cuda.is_available() else "not measured"


def equality(bench: Bench) -> str:
    """Loss and gradients of a packed batch compared with the model's own loss on TRL's batch."""
    recipe = bench.recipe("1-label", "packing=true")
    template, rows = load_template(recipe.template), 4
    examples = label_examples(read_samples(bench.data, "train")[:rows], template)
    processor = load_processor(str(bench.model), recipe.max_pixels)
    collator = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)
    dataset = as_dataset(examples, template, recipe.shown_pixels)
    trainer = SoftTargetTrainer(
        model=load_trainable(recipe, str(bench.model), None),
        args=sft_config(recipe, bench.folder / "equality"),
        train_dataset=dataset,
        processing_class=processor,
        data_collator=SoftTargetCollator(collator, AnswerPaths(processor, template)),
        level_loss=cross_entropy,
    )
    model: Any = trainer.model
    on_device = {"device": bench.device}
    plain = {key: value.to(**on_device) for key, value in dict(collator([dataset[n] for n in range(rows)])).items()}
    tokens = int((plain["labels"][:, 1:] != -100).sum())
    with bench.autocast():
        loss = model(**plain, use_cache=False).loss * tokens / rows  # ours is a mean over rows
    gradients = backward(model, loss)
    use_packing(model)
    trainer.packing = True
    packed = moved(trainer.data_collator([dataset[n] for n in range(rows)]), bench.device)
    with bench.autocast():
        packed_loss = trainer.compute_loss(model, packed)
    packed_gradients = backward(model, packed_loss)
    apart = float((packed_gradients - gradients).norm() / gradients.norm())
    off = abs(float(packed_loss) / float(loss) - 1)
    equal = off < LOSS_WITHIN and apart < GRADIENTS_WITHIN
    return f"{off:.1e} of {LOSS_WITHIN:g} | {apart:.1e} of {GRADIENTS_WITHIN:g} | {'yes' if equal else 'NO'}"


def backward(model: Any, loss: torch.Tensor) -> torch.Tensor:
    """All gradients of the loss as one float32 vector."""
    model.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.float().flatten() for weight in model.parameters() if weight.grad is not None])


def moved(batch: Any, device: str) -> Any:
    """A batch with its tensors moved to the device."""
    if isinstance(batch, dict):
        return {key: moved(value, device) for key, value in batch.items()}
    return batch.to(device) if isinstance(batch, torch.Tensor) else batch


def attention(bench: Bench, kind: str) -> str:
    """Milliseconds of a forward pass over a padded batch, with peak memory."""
    if kind == "flash_attention_2" and not (installed("flash_attn") and bench.device == "cuda"):
        raise NotInstalledError("flash_attn")
    recipe = bench.recipe("1-label")
    template = load_template(recipe.template)
    processor = load_processor(str(bench.model), recipe.max_pixels)
    model: Any = AutoModelForImageTextToText.from_pretrained(
        bench.model, dtype="auto", attn_implementation=kind, device_map={"": bench.device}
    )
    dataset = as_dataset(label_examples(read_samples(bench.data, "train")[:4], template), template, recipe.shown_pixels)
    collator = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)
    batch = moved(dict(collator([dataset[n] for n in range(4)])), bench.device)
    with torch.no_grad(), bench.autocast():
        loss = float(model(**batch, use_cache=False).loss)
        synchronize()
        began = time.monotonic()
        for _ in range(3):
            model(**batch, use_cache=False)
        synchronize()
    return f"{(time.monotonic() - began) / 3 * 1000:.0f} ms | {peak()} | {loss:.4f}"


def stage_3(bench: Bench, method: str) -> str:
    """Two steps on plausible answers of a trained model; seconds include loading and two evaluations."""
    changes = [f"method={method}", "max_steps=2", "held_out_rows=4", "save_steps=2", *METHODS[method]]
    pairs = answers_in_pairs(bench.data, bench.folder / "pairs.jsonl")
    recipe = bench.recipe("3-calibrate", *changes, *([f"pairs={pairs}"] if method in ("dpo", "kto") else []))
    examples, out, model = answers(bench.data), bench.folder / method, str(bench.model)
    fit, held_out = examples[:-4], examples[-4:]
    began = time.monotonic()
    if method in ("dpo", "kto"):
        by_key = {(example.sample.task, example.sample.id): example.sample for example in examples}
        calibrate_by_preferences(recipe, read_pairs(pairs, by_key), by_key, held_out, model, None, out)
    else:
        work = {"proper": calibrate_by_proper_loss, "grpo": calibrate_by_grpo, "rloo": calibrate_by_rloo}[method]
        work(recipe, fit, held_out, model, None, out)
    synchronize()
    losses = [line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line]
    counted = estimate(recipe).training_bytes / GIB
    took = time.monotonic() - began
    return f"{took:.0f} s | {peak()} | {counted:.2f} | {', '.join(f'{loss:.4f}' for loss in losses)}"


def exported(bench: Bench) -> str:
    """The data types of a merged export's weights and of its base's."""
    stage, out = bench.folder / "export-stage", bench.folder / "export"
    train(bench.recipe("1-label", "packing=true", "max_steps=1"), None, stage)
    export(finished_stage(stage), out, merge=True, scorecard=None)
    base, merged = (" and ".join(sorted(types_of(folder))) for folder in (bench.model, out))
    return f"{base} | {merged} | {'yes' if base == merged else 'NO'}"


def types_of(folder: Path) -> set[str]:
    """The data types of the weights in a folder of safetensors."""
    types: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            types |= {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    return types


def queried(bench: Bench) -> str:
    """Pictures per second by transformers, after a first batch that loads the kernels."""
    engine = TransformersEngine(bench.model, device=bench.device, batch_size=8, max_new_tokens=8)
    samples, template = read_samples(bench.data, "train"), load_template("label")
    list(respond(samples[:8], engine, template))
    began = time.monotonic()
    list(respond(samples, engine, template))
    return f"{len(samples) / (time.monotonic() - began):.1f} pictures/s | {peak()}"
