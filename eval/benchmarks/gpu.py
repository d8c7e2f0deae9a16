"""The recipes on one GPU, compared with plain TRL: samples/s, peak memory against the estimate, losses, equality.

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
import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the tokenizer and the few rows are the tests' own

import torch  # noqa: E402
from transformers import AutoConfig, AutoModelForImageTextToText  # noqa: E402

from eval.benchmarks.gpu_measurements import (  # noqa: E402
    METHODS,
    PACKED,
    VARIANTS,
    Bench,
    NotInstalledError,
    attention,
    equality,
    exported,
    queried,
    stage_1,
    stage_3,
)
from tests.runs.few_rows import few_rows  # noqa: E402
from tests.stages.families import qwen25_vl  # noqa: E402

RESULTS = ROOT / "eval" / "results" / "gpu.md"
CURVE_WITHIN = 0.02


def random_model(folder: Path, architecture: Path | None, layers: int | None) -> Path:
    """A model folder with random weights: of the architecture, with its language model cut to `layers`, or tiny without
    an architecture."""
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
    """The Markdown file, written line by line; no measurement starts after the time limit."""

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
        """Write one more line, on the screen too."""
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")

    def table(self, *columns: str) -> None:
        """Write the header of a table."""
        self.say(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")

    def measure(self, title: str, work: Callable[[], str]) -> None:
        """Write a table row: the cells that `work` returns, or why there are none."""
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


def curve(path: Path, name: str, losses: list[float]) -> str:
    """Whether the losses equal those committed for this GPU; stored if none are."""
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
    """Build a random model and a few rows, and run every measurement."""
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
