"""Two calls in flight compared with one, with answers of 20 to 300 tokens: the time lost while a batch's last answers
finish.

It uses vLLM and a tiny model with random weights; the length of an answer is set by its image's number. On a CPU it
shows that the batch stays full; the speed-up depends on the device.

    export VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_NUM_THREADS=1
    python eval/benchmarks/in_flight.py --images 256 --per-call 32
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from harness import PLAIN, samples_on_disk, save_random_model
from vllm import SamplingParams

from emocaliber.core.environment import usable_cores
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import Request
from emocaliber.generation.respond import respond
from emocaliber.generation.vllm_engine import VllmEngine

SHORTEST, LONGEST = 20, 300


class Unequal(VllmEngine):
    """Answers whose length depends on the sample's id."""

    def _sampling(self, request: Request, recorded: Sequence[int]) -> SamplingParams:
        parameters = super()._sampling(request, recorded)
        length = random.Random(request.sample_id).randint(SHORTEST, LONGEST)
        parameters.max_tokens = parameters.min_tokens = length
        return parameters


def measure(engine: Unequal, samples: Sequence[Sample], in_flight: int) -> float:
    """Tokens per second."""
    engine.concurrency = in_flight
    engine._llm.reset_prefix_cache()
    started = time.monotonic()
    tokens = sum(response.tokens for response in respond(samples, engine, PLAIN))
    return tokens / (time.monotonic() - started)


def main() -> None:
    """Print tokens per second of each way, three times in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--per-call", type=int, default=32)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = samples_on_disk(folder, arguments.images)
        save_random_model(folder / "model")
        engine = Unequal(folder / "model", dtype="float32", max_new_tokens=LONGEST, max_model_len=512)
        engine.requests_per_call = arguments.per_call
        measure(engine, samples[: arguments.per_call], 1)
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(3):
            for in_flight, measured in rates.items():
                measured.append(measure(engine, samples, in_flight))
    print(f"{date.today()}, {usable_cores()} CPU cores, {arguments.images} images, {arguments.per_call} a call")
    for in_flight, measured in rates.items():
        print(f"{in_flight} in flight: {', '.join(f'{rate:.0f}' for rate in sorted(measured))} tokens/s")


if __name__ == "__main__":
    main()
