"""What one GPU does with the recipes, beside plain TRL: samples/s, peak memory against the estimate, losses, equality.

The true architecture of Qwen2.5-VL (recipes/qwen2.5-vl-3b, or --architecture) with random weights, so nothing is
downloaded. A few steps of each variant of stage 1, the steps after the first timed; packed loss and gradients beside
plain TRL's; attention by SDPA and FlashAttention; two steps of every method of stage 3; the type of an export;
generation. Results are written to --out as they come, so that a run that is cut short has said what it saw; what is not
installed or fails is named. The losses of LoRA, packed, are kept by GPU in gpu-losses.json beside it, and held against
those that are there.

    python eval/benchmarks/gpu.py                                       # one GPU; writes eval/results/gpu.md
    python eval/benchmarks/gpu.py --device cpu --out out/gpu.md         # the same path with a tiny model
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the tokenizer and the few rows are the tests' own

import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import AutoConfig, AutoModelForImageTextToText, TrainerCallback  # noqa: E402
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling, SFTTrainer  # noqa: E402

from emocaliber.core.prompting import load_template  # noqa: E402
from emocaliber.data.parquet import read_samples  # noqa: E402
from emocaliber.generation.respond import respond  # noqa: E402
from emocaliber.generation.transformers_engine import TransformersEngine  # noqa: E402
from emocaliber.runs.estimate import GIB, estimate  # noqa: E402
from emocaliber.runs.export import export  # noqa: E402
from emocaliber.runs.finished import finished_stage  # noqa: E402
from emocaliber.runs.recipes import read_recipe  # noqa: E402
from emocaliber.runs.train import train  # noqa: E402
from emocaliber.stages.answer_paths import AnswerPaths  # noqa: E402
from emocaliber.stages.calibrate.preferences import calibrate_by_preferences  # noqa: E402
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss  # noqa: E402
from emocaliber.stages.calibrate.reinforcement import calibrate_by_grpo, calibrate_by_rloo  # noqa: E402
from emocaliber.stages.examples import as_dataset  # noqa: E402
from emocaliber.stages.fast.packing import use_packing  # noqa: E402
from emocaliber.stages.loading import load_processor, load_trainable  # noqa: E402
from emocaliber.stages.pairs import read_pairs  # noqa: E402
from emocaliber.stages.recipe import Recipe  # noqa: E402
from emocaliber.stages.soft_targets import SoftTargetCollator, SoftTargetTrainer, cross_entropy  # noqa: E402
from emocaliber.stages.supervised import sft_config, train_supervised  # noqa: E402
from emocaliber.stages.targets import label_examples  # noqa: E402
from emocaliber.stages.training import read_log  # noqa: E402
from tests.runs.few_rows import answers_in_pairs, few_rows  # noqa: E402
from tests.runs.short_runs import answers  # noqa: E402
from tests.stages.families import qwen25_vl  # noqa: E402

RESULTS = ROOT / "eval" / "results" / "gpu.md"
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
CURVE_WITHIN = 0.02


class NotInstalledError(Exception):
    """A package that a measurement needs is missing."""


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        synchronize()
        self.ends.append(time.monotonic())


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: device, model and data, the keys that all recipes get, and how many steps."""

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
        """As the trainers compute."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def random_model(folder: Path, architecture: Path | None, layers: int | None) -> Path:
    """A model folder with random weights: the architecture's, its language model cut to `layers`; tiny without one."""
    model, processor = qwen25_vl()
    if architecture is not None:
        config: Any = AutoConfig.from_pretrained(architecture)
        for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
            setattr(config, name, getattr(model.config, name))
        config.text_config.num_hidden_layers = layers or config.text_config.num_hidden_layers
        with torch.device("cuda"):
            model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


class Report:
    """The Markdown file, written line by line; nothing new is started once the time is up."""

    def __init__(self, path: Path, device: str, model: str, seconds: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.until = path, time.monotonic() + seconds
        place = torch.cuda.get_device_name() if device == "cuda" else "a CPU: a trial of the script, no result"
        versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
        path.write_text(
            f"# What one GPU does\n\n{time.strftime('%Y-%m-%d')}, `python eval/benchmarks/gpu.py`: {model} with random"
            f" weights on {place}; {versions}. One run, no interval.\n"
        )

    def say(self, line: str) -> None:
        """One more line, on the screen too."""
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")

    def table(self, *columns: str) -> None:
        """The head of a table."""
        self.say(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")

    def measure(self, title: str, work: Callable[[], str]) -> None:
        """A row: what `work` returns, or why there is nothing."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            cells = work() if time.monotonic() < self.until else "left out: the time was up"
        except NotInstalledError as missing:
            cells = f"left out: {missing} is not installed"
        except Exception as error:
            cells = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
        self.say(f"| {title} | {cells} |")
        gc.collect()


def stage_1(bench: Bench, title: str, losses_of: dict[str, list[float]]) -> str:
    """Samples/s after the first step, peak memory and the estimate's, the losses."""
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
    """Whether it can be imported."""
    return importlib.util.find_spec(package) is not None


def peak() -> str:
    """GiB that PyTorch held at most since the row began."""
    return f"{torch.cuda.max_memory_allocated() / GIB:.2f}" if torch.cuda.is_available() else "not measured"


def equality(bench: Bench) -> str:
    """Loss and gradients of a packed batch beside those of the model's own loss on TRL's batch."""
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
    """All gradients of the loss in one vector, in float32."""
    model.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.float().flatten() for weight in model.parameters() if weight.grad is not None])


def moved(batch: Any, device: str) -> Any:
    """A batch, with its fields of tensors, on the device."""
    if isinstance(batch, dict):
        return {key: moved(value, device) for key, value in batch.items()}
    return batch.to(device) if isinstance(batch, torch.Tensor) else batch


def attention(bench: Bench, kind: str) -> str:
    """Milliseconds of a forward pass over a padded batch, with its peak of memory."""
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
    """Two steps from answers that a trained model might have given; seconds with loading and two evaluations."""
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
    """The type of a merged export's weights beside that of its base."""
    stage, out = bench.folder / "export-stage", bench.folder / "export"
    train(bench.recipe("1-label", "packing=true", "max_steps=1"), None, stage)
    export(finished_stage(stage), out, merge=True, scorecard=None)
    base, merged = (" and ".join(sorted(types_of(folder))) for folder in (bench.model, out))
    return f"{base} | {merged} | {'yes' if base == merged else 'NO'}"


def types_of(folder: Path) -> set[str]:
    """Types of the weights in a folder of safetensors."""
    types: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            types |= {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    return types


def queried(bench: Bench) -> str:
    """Pictures a second by transformers, without the loading of kernels that the first batch pays for."""
    engine = TransformersEngine(bench.model, device=bench.device, batch_size=8, max_new_tokens=8)
    samples, template = read_samples(bench.data, "train"), load_template("label")
    list(respond(samples[:8], engine, template))
    began = time.monotonic()
    list(respond(samples, engine, template))
    return f"{len(samples) / (time.monotonic() - began):.1f} pictures/s | {peak()}"


def curve(path: Path, name: str, losses: list[float]) -> str:
    """Whether the losses are those that are committed for this GPU; kept, where there are none yet."""
    curves: dict[str, list[float]] = json.loads(path.read_text()) if path.exists() else {}
    if name not in curves:
        path.write_text(json.dumps(curves | {name: losses}, indent=1) + "\n")
        return f"{name} | kept, {len(losses)} steps | {path.name}"
    off = max(abs(new / old - 1) for new, old in zip(losses, curves[name], strict=True))
    return (
        f"{name} | {off:.1%} at most from the committed {len(losses)} steps | {'yes' if off < CURVE_WITHIN else 'NO'}"
    )


def measure(bench: Bench, report: Report) -> None:
    """Every measurement, the most telling first."""
    losses_of: dict[str, list[float]] = {}
    report.table("packed beside plain TRL", "loss, relative", "gradients, relative", "equal")
    report.measure("4 rows, LoRA", lambda: equality(bench))
    report.table("stage 1", "samples/s", "peak GiB", "estimated GiB", "losses")
    for title in VARIANTS:
        report.measure(title, lambda title=title: stage_1(bench, title, losses_of))  # type: ignore[misc]
    report.table("losses of this GPU", "device", "steps", "as committed")
    device = torch.cuda.get_device_name() if bench.device == "cuda" else "CPU"
    losses = report.path.with_name("gpu-losses.json")
    report.measure("the curve of " + PACKED, lambda: curve(losses, device, losses_of[PACKED]))
    report.table("stage 3, two steps", "seconds in all", "peak GiB", "estimated GiB", "losses")
    for method in METHODS:
        report.measure(method, lambda method=method: stage_3(bench, method))  # type: ignore[misc]
    report.table("attention, 4 rows", "forward", "peak GiB", "loss")
    for kind in ("sdpa", "flash_attention_2"):
        report.measure(kind, lambda kind=kind: attention(bench, kind))  # type: ignore[misc]
    report.table("generation by transformers", "batch 8, 8 tokens", "peak GiB")
    report.measure("label", lambda: queried(bench))
    report.table("export --merge", "base", "export", "alike")
    report.measure("weights", lambda: exported(bench))


def main() -> None:
    """Random weights, a few rows, every measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--architecture", default="qwen2.5-vl-3b", help="a folder of recipes/ (default: qwen2.5-vl-3b)")
    parser.add_argument("--layers", type=int, help="cut the language model to so many layers")
    parser.add_argument("--seconds", type=float, default=420, help="start nothing new after this (default: 420)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    on_cpu = arguments.device == "cpu"
    if on_cpu and arguments.out.resolve() == RESULTS.resolve():
        parser.error("--device cpu only tries the script; give another --out")
    if not on_cpu and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --out FILE tries the script")
    report = Report(arguments.out, arguments.device, "tiny" if on_cpu else arguments.architecture, arguments.seconds)
    recipes = ROOT / "recipes" / arguments.architecture
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_model(folder / "model", None if on_cpu else recipes / "architecture.json", arguments.layers)
        rows, batch, steps = (8, 2, 2) if on_cpu else (128, 8, 8)
        data = few_rows(folder / "rows.parquet", {"train": rows, "calibrate": 8 if on_cpu else 24})
        common = [f"model={model}", f"data=[{data}]", f"max_steps={steps}", "logging_steps=1", "save_steps=100"]
        common += ["gradient_accumulation_steps=1", f"per_device_train_batch_size={batch}", "dataloader_num_workers=0"]
        common += ["use_cpu=true", "bf16=false", "max_pixels=3136", "gradient_checkpointing=false"] if on_cpu else []
        measure(Bench(arguments.device, recipes, model, data, common, steps, folder), report)


if __name__ == "__main__":
    main()
