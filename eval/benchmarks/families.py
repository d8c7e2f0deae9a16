"""Does vLLM serve what the recipes train? For each family, a tiny random model of its architecture is trained on a
CPU by LoRA for 20 steps (on the language model, or on vision tower and projector only), and answers as base with
adapter and merged, by transformers and by vLLM. Or: do its three stages run two steps on quantised weights?

This is not part of the test suite (tests/runs/test_served.py serves one family), because vLLM takes ten seconds or more
to start.

    VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_NUM_THREADS=1 \
        python eval/benchmarks/families.py --family qwen3-vl --way adapter --out out/families
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the families' models are the tests' own

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from emocaliber.cli import main as command_line  # noqa: E402
from emocaliber.core.errors import UserError  # noqa: E402
from emocaliber.core.images import load_image  # noqa: E402
from emocaliber.core.prompting import load_template  # noqa: E402
from emocaliber.data.embedded import load  # noqa: E402
from emocaliber.generation.engine import Request  # noqa: E402
from emocaliber.generation.transformers_engine import TransformersEngine  # noqa: E402
from emocaliber.runs.recipes import read_recipe  # noqa: E402
from tests.runs.few_rows import few_rows  # noqa: E402
from tests.runs.short_runs import FOLDER, ON_CPU, RECIPES, losses, three_stages  # noqa: E402
from tests.stages.families import save_family  # noqa: E402

QUANTIZED = ("nf4", "int8")
TOWER = (
    r".*(visual\.|vision_tower|vision_model|multi_modal_projector|connector)(?!.*patch_embed)"
    r".*(qkv|proj|linear_?(fc)?\d|fc\d|mlp\.[02])"
)
"""LoRA's target of the way `tower`: linear layers of vision tower and projector, by each family's names."""
PICTURES = 16
TOKENS = 12
LARGER = 8.0


def spread_out(family: str, folder: Path) -> Path:
    """The family's random model with larger weights: otherwise every picture and question gets the same answer."""
    if not folder.is_dir():
        file = save_family(family, folder) / "model.safetensors"
        weights = {name: LARGER * weight if weight.dim() > 1 else weight for name, weight in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})
    return folder


def trained(family: str, out: Path, way: str) -> tuple[Path, Path, Path]:
    """Base, adapter and merged model after 20 steps of stage 1."""
    base = spread_out(family, out / "base")
    recipe = RECIPES / FOLDER[family] / "1-label.yaml"
    overrides = [] if read_recipe(recipe).max_pixels is None else ["max_pixels=4096"]
    overrides += [f"lora_target={TOWER}", "lora_partial=true"] if way == "tower" else []
    out = out / "tower" if way == "tower" else out
    changes = [
        *ON_CPU,
        *overrides,
        f"model={base}",
        "data=[kaomoji]",
        "max_steps=20",
        "save_steps=20",
        "learning_rate=0.001",
    ]
    command_line(["train", str(recipe), *changes, "--out", str(out / "1-label")])
    if way == "merged" and not (out / "merged").is_dir():
        command_line(["export", str(out / "1-label"), "--merge", "--out", str(out / "merged")])
    return base, out / "1-label" / "adapter", out / "merged"


def quantized(family: str, out: Path, way: str) -> str:
    """The losses of two steps of each stage with quantised weights."""
    out.mkdir(parents=True, exist_ok=True)
    base = spread_out(family, out / "base")
    few = few_rows(out / "few.parquet", {"train": 8, "unlabelled": 4, "calibrate": 8})
    stages = three_stages(family, base, few, out / way, f"quantization={way}")
    return "; ".join(", ".join(f"{loss:.3f}" for loss in losses(stage)) for stage in stages)


def questions() -> tuple[list[Request], tuple[str, ...]]:
    """One picture per question, the labels in a different order each time so that answers differ; and the labels."""
    samples, render = load("kaomoji", "test")[:PICTURES], load_template("label").render
    labels = samples[0].candidates
    turned = [labels[n % len(labels) :] + labels[: n % len(labels)] for n in range(PICTURES)]
    return [Request(s.id, load_image(s.image), render(t)) for s, t in zip(samples, turned, strict=True)], labels


def compare(model: Path, adapter: Path | None, dtype: Literal["float32", "bfloat16"]) -> str:
    """The number of texts that differ, and the largest difference of a log-probability, between the engines and from
    float64."""
    from emocaliber.generation.vllm_engine import VllmEngine

    requests, labels = questions()

    def scores(engine: TransformersEngine | VllmEngine) -> NDArray[np.float64]:
        return engine.score_continuations(requests, "<answer>", labels, "</answer>")

    plain = TransformersEngine(model, adapter=adapter, max_new_tokens=TOKENS, dtype=getattr(torch, dtype))
    plain_texts, expected = [response.text for response in plain.generate(requests)], scores(plain)
    plain.model.double()
    rounding = np.abs(scores(plain) - expected).max()
    served = VllmEngine(model, adapter=adapter, dtype=dtype, max_model_len=1024, max_new_tokens=TOKENS)
    # a character of several bytes that the length limit cuts is shown by transformers, and left out by vLLM
    texts = [response.text.rstrip("\ufffd") for response in served.generate(requests)]
    differing = [(a, b) for a, b in zip(plain_texts, texts, strict=True) if a.rstrip("\ufffd") != b]
    for pair in differing:
        print(f"transformers {pair[0]!r}, vLLM {pair[1]!r}")
    gap = np.abs(scores(served) - expected).max()
    return f"{len(differing)} of {PICTURES} ({len(set(plain_texts))} distinct) | {gap:.1e} | {rounding:.1e}"


def main() -> None:
    """Print a table row for each family, in the chosen way."""
    parser = argparse.ArgumentParser(description="vLLM beside transformers on a tiny model of a family.")
    parser.add_argument("--family", choices=FOLDER, nargs="+", required=True)
    parser.add_argument("--way", choices=("adapter", "tower", "merged", *QUANTIZED), required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for family in arguments.family:
        out = arguments.out / family
        if arguments.way in QUANTIZED:
            print(f"| {family} | {arguments.way} | {quantized(family, out, arguments.way)} |", flush=True)
            continue
        base, adapter, merged = trained(family, out, arguments.way)
        try:
            asked = (merged, None) if arguments.way == "merged" else (base, adapter)
            verdict = compare(*asked, arguments.dtype)
        except UserError as error:
            verdict = str(error)
        print(f"| {family} | {arguments.way} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
