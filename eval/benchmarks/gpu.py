"""What one GPU does with the recipes: samples/s, peak memory against `emocaliber recipe estimate`, losses, pictures/s.

The true architecture of Qwen2.5-VL (recipes/qwen2.5-vl-3b, or --architecture) with random weights, so nothing is
downloaded. Two steps of each variant by `emocaliber train` itself; the second step is timed. Results are appended to
--out as they come, so that a run that is cut short has said what it saw; what is not installed or fails is named.

    python eval/benchmarks/gpu.py                                       # one GPU; writes eval/results/gpu.md
    python eval/benchmarks/gpu.py --device cpu --out out/gpu.md         # the same path with a tiny model
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the tokenizer and the few rows are the tests' own

import torch  # noqa: E402
from transformers import AutoConfig, AutoModelForImageTextToText, TrainerCallback  # noqa: E402

from emocaliber.cli import main as command_line  # noqa: E402
from emocaliber.core.prompting import load_template  # noqa: E402
from emocaliber.data.parquet import read_samples  # noqa: E402
from emocaliber.generation.respond import respond  # noqa: E402
from emocaliber.generation.transformers_engine import TransformersEngine  # noqa: E402
from emocaliber.runs.estimate import GIB, estimate  # noqa: E402
from emocaliber.runs.recipes import read_recipe  # noqa: E402
from emocaliber.stages import training  # noqa: E402
from tests.runs.few_rows import few_rows  # noqa: E402
from tests.stages.families import qwen25_vl  # noqa: E402

VARIANTS: dict[str, list[str]] = {
    "LoRA, packed": ["packing=true"],
    "LoRA, padded": ["packing=false"],
    "LoRA, packed, every picture seen again": ["packing=true", "keep_features=false"],
    "QLoRA (nf4)": ["packing=true", "quantization=nf4"],
    "full": ["packing=true", "tuning=full"],
}
STEPS = 3
NEEDS = {"quantization=nf4": "bitsandbytes"}


class Clock(TrainerCallback):
    """When each step ended."""

    ends: list[float] = []  # noqa: RUF012

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        Clock.ends.append(time.monotonic())


class TimedLog(training.Log, Clock):
    """The log of every stage, with a clock."""


def random_model(folder: Path, architecture: Path | None, layers: int | None) -> Path:
    """A model folder with random weights: the architecture's, its language model cut to `layers`; tiny without one."""
    tiny, processor = qwen25_vl()
    if architecture is not None:
        config: Any = AutoConfig.from_pretrained(architecture)
        for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
            setattr(config, name, getattr(tiny.config, name))
        config.text_config.num_hidden_layers = layers or config.text_config.num_hidden_layers
        with torch.device("cuda"):
            tiny = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    tiny.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    tiny.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    tiny.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


class Report:
    """The Markdown file, written line by line."""

    def __init__(self, path: Path, device: str, model: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        place = torch.cuda.get_device_name() if device == "cuda" else "a CPU: a trial of the script, no result"
        versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
        path.write_text(f"# What one GPU does\n\n{model} with random weights on {place}; {versions}.\n\n")
        self.say("| stage 1 | samples/s | peak GiB | estimated GiB | losses |\n|---|---|---|---|---|")

    def say(self, line: str) -> None:
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


def trained(name: str, changes: list[str], common: list[str], out: Path) -> str:
    """A row of the table: STEPS steps of stage 1, those after the first timed."""
    missing = next((NEEDS[c] for c in changes if c in NEEDS and importlib.util.find_spec(NEEDS[c]) is None), None)
    if missing:
        return f"| {name} | left out: {missing} is not installed | | | |"
    recipe = ROOT / "recipes" / "qwen2.5-vl-3b" / "1-label.yaml"
    Clock.ends.clear()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if (code := command_line(["train", str(recipe), *common, *changes, "--out", str(out)])) != 0:
        return f"| {name} | failed: exit code {code} | | | |"
    read = read_recipe(recipe, [*common, *changes])
    rows = estimate(read).rows_per_step
    speed = rows * (len(Clock.ends) - 1) / (Clock.ends[-1] - Clock.ends[0])
    peak = f"{torch.cuda.max_memory_allocated() / GIB:.1f}" if torch.cuda.is_available() else "not measured"
    losses = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines() if '"loss"' in line]
    counted = f"{estimate(read).training_bytes / GIB:.1f}"
    return f"| {name} | {speed:.2f} | {peak} | {counted} | {', '.join(f'{loss:.4f}' for loss in losses)} |"


def queried(model: Path, data: Path, device: str) -> str:
    """Pictures a second by transformers, without and with the loading of kernels that the first batch pays for."""
    engine = TransformersEngine(model, device=device, batch_size=8, max_new_tokens=8)
    samples, template = read_samples(data, "train"), load_template("label")
    list(respond(samples[:8], engine, template))
    began = time.monotonic()
    list(respond(samples, engine, template))
    return f"Generation by transformers: {len(samples) / (time.monotonic() - began):.1f} pictures/s."


def main() -> None:
    """Every variant, then generation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--architecture", default="qwen2.5-vl-3b", help="a folder of recipes/ (default: qwen2.5-vl-3b)")
    parser.add_argument("--layers", type=int, help="cut the language model to so many layers")
    parser.add_argument("--seconds", type=float, default=480, help="start nothing new after this (default: 480)")
    parser.add_argument("--out", type=Path, default=ROOT / "eval" / "results" / "gpu.md")
    arguments = parser.parse_args()
    on_cpu, began = arguments.device == "cpu", time.monotonic()
    if on_cpu and arguments.out.resolve() == (ROOT / "eval" / "results" / "gpu.md").resolve():
        parser.error("--device cpu only tries the script; give another --out")
    if not on_cpu and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --out FILE tries the script")
    training.Log = TimedLog  # type: ignore[misc]
    from emocaliber.stages import supervised

    supervised.Log = TimedLog  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        architecture = None if on_cpu else ROOT / "recipes" / arguments.architecture / "architecture.json"
        model = random_model(folder / "model", architecture, arguments.layers)
        rows, batch = (16, 2) if on_cpu else (128, 8)
        data = few_rows(folder / "rows.parquet", {"train": rows})
        common = [f"model={model}", f"data=[{data}]", f"max_steps={STEPS}", "logging_steps=1", "save_steps=100"]
        common += ["gradient_accumulation_steps=1", f"per_device_train_batch_size={batch}", "dataloader_num_workers=0"]
        common += ["use_cpu=true", "bf16=false", "max_pixels=3136"] if on_cpu else []
        report = Report(arguments.out, arguments.device, "tiny" if on_cpu else arguments.architecture)
        for number, (title, changes) in enumerate(VARIANTS.items()):
            if time.monotonic() - began > arguments.seconds:
                report.say(f"| {title} | left out: the time was up | | | |")
                continue
            try:
                report.say(trained(title, changes, common, folder / str(number)))
            except Exception as error:
                report.say(f"| {title} | failed: {type(error).__name__}: {str(error).splitlines()[0][:120]} | | | |")
        report.say("\n" + queried(model, data, arguments.device))


if __name__ == "__main__":
    main()
