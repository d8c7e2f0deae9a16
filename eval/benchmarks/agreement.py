"""Do the engines agree? The same questions to transformers and to vLLM, greedily, with one model and one adapter.

Not a test (tests/generation/test_engines_agree.py allows one answer in a hundred to differ): the exact share, and how
far apart the probabilities are. Float32 sums differ in their last bits from engine to engine, and so can an answer
whose two best tokens are all but equal.

    export VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_NUM_THREADS=1
    python eval/benchmarks/agreement.py --adapter out/demo/3-calibrate/adapter --rows 500
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from emocaliber.backbones.tiny import embedded_base
from emocaliber.datasets.embedded import load
from emocaliber.environment import usable_cores
from emocaliber.generation.predict import Readouts, predict
from emocaliber.prompting import load_template
from emocaliber.samples import Sample

TEMPLATE = load_template("label-confidence")
NEW_TOKENS = 12


def ask(samples: Sequence[Sample], model: Path, adapter: Path) -> list[Readouts]:
    """The rows of transformers, then those of vLLM."""
    from emocaliber.generation.transformers_engine import TransformersEngine
    from emocaliber.generation.vllm_engine import VllmEngine

    plain = TransformersEngine(model, adapter=adapter, max_new_tokens=NEW_TOKENS, batch_size=96)
    found = [predict(samples, plain, TEMPLATE, method="transformers")]
    served = VllmEngine(model, adapter=adapter, dtype="float32", max_new_tokens=NEW_TOKENS, max_model_len=512)
    return [*found, predict(samples, served, TEMPLATE, method="vllm")]


def compare(plain: Readouts, served: Readouts) -> list[str]:
    """A line for each thing compared."""
    texts = [(one.text, other.text) for one, other in zip(plain.responses, served.responses, strict=True)]
    stated = list(zip(plain.verbalized, served.verbalized, strict=True))
    counts = {
        "texts": sum(one != other for one, other in texts),
        "labels": sum(one.predicted != other.predicted for one, other in stated),
        "stated confidences": sum(one.confidence != other.confidence for one, other in stated),
    }
    lines = [f"{name}: {count} of {len(texts)} differ ({count / len(texts):.4f})" for name, count in counts.items()]
    readouts = {
        "mean over levels": (plain.expected, served.expected),
        "label probability": (plain.logprob, served.logprob),
    }
    for name, (one, other) in readouts.items():
        pairs = [(a.confidence, b.confidence) for a, b in zip(one, other, strict=True)]
        gaps = [abs(a - b) for a, b in pairs if a is not None and b is not None]
        lines.append(f"{name}: {len(gaps)} compared, median gap {np.median(gaps):.1e}, largest {max(gaps):.1e}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare the answers of transformers and vLLM.")
    parser.add_argument("--model", type=Path, default=embedded_base(), help="default: the base that ships")
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=500, help="how many of kaomoji's test rows (default: 500)")
    arguments = parser.parse_args()
    samples = load("kaomoji", "test")
    chosen = [samples[number * len(samples) // arguments.rows] for number in range(arguments.rows)]
    print(f"{date.today()}, {usable_cores()} CPU cores, n = {len(chosen)}")
    print(*compare(*ask(chosen, arguments.model, arguments.adapter)), sep="\n")
