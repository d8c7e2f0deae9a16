"""The overhead of the harness over the engine alone: images from disk, 32 new tokens, one model, machine and process.

The weights are random, so this does not compare models. The same questions are answered in four ways: by our harness on
vLLM (with journal, checks and files), by a single `llm.generate` of all prompts with images decoded beforehand (the
ceiling), by one `llm.generate` per sample (as the reference code does), and by our harness on transformers in batches.

    export VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_NUM_THREADS=1
    python eval/benchmarks/harness.py --images 2000
    python eval/benchmarks/harness.py --rows 100000        memory alone: rows streamed through the harness, no model
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from emocaliber.core.environment import usable_cores
from emocaliber.core.images import load_image
from emocaliber.core.prompting import load_template, messages
from emocaliber.core.samples import FileImage, Sample
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.generation.engine import Request, Response
from emocaliber.generation.harness import generate
from scripts.tiny_world.backbone import build_processor, build_tiny, build_tokenizer

if TYPE_CHECKING:
    from emocaliber.generation.vllm_engine import VllmEngine

NEW_TOKENS = 32
SINGLE_CALLS = 200
LABELS = KAOMOJI_10.labels
PLAIN, WITH_CHOICES = load_template("distribution"), load_template("label-confidence")


def samples_on_disk(folder: Path, count: int) -> list[Sample]:
    """Noisy pictures of 280 x 28 pixels as PNG files."""
    noise = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(noise.integers(0, 256, (28, 280, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return [sample(FileImage(folder, f"{number}.png"), number) for number in range(count)]


def sample(image: FileImage | bytes, number: int) -> Sample:
    """A question about one image."""
    return Sample(str(number), image, "noise", LABELS, LABELS[number % 10], "test", "noise", str(number))


def save_random_model(folder: Path) -> None:
    """The tiny backbone with random weights, which hardly ever ends its answer before the limit."""
    tokenizer = build_tokenizer([template.render(LABELS) for template in (PLAIN, WITH_CHOICES)], "")
    build_tiny(tokenizer).save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)


@contextmanager
def clocked(way: str, images: int, lines: list[str]) -> Iterator[None]:
    """Add a line: images per second of wall-clock time, and CPU time per image, which does not depend on other load."""
    wall, cpu = time.monotonic(), time.process_time()
    yield
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    lines.append(f"{images / wall:8.1f} images/s {1000 * cpu / images:8.2f} ms of CPU an image   {way}")


def bare_prompts(model: Path, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """The inputs to `llm.generate` as in vLLM's documentation: chat text and decoded images."""
    processor: Any = _processor(str(model))
    chat = processor.apply_chat_template(messages(PLAIN.render(LABELS)), tokenize=False, add_generation_prompt=True)
    return [{"prompt": chat, "multi_modal_data": {"image": load_image(sample.image)}} for sample in samples]


@lru_cache
def _processor(model: str) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(model)


def bare(engine: VllmEngine, prompts: list[dict[str, Any]]) -> None:
    """vLLM alone, in one call."""
    from vllm import SamplingParams

    engine._llm.generate(prompts, SamplingParams(temperature=0, max_tokens=NEW_TOKENS), use_tqdm=False)


def forget(engine: VllmEngine) -> None:
    """Empty vLLM's caches, so that every way starts without them."""
    engine._llm.reset_prefix_cache()
    engine._llm.reset_mm_cache()


def compare(count: int) -> None:
    """Print one line per way; the upper limit is measured before and after ours."""
    from emocaliber.generation.transformers_engine import TransformersEngine
    from emocaliber.generation.vllm_engine import VllmEngine

    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name), list[str]()
        (folder / "images").mkdir()
        samples = samples_on_disk(folder / "images", count)
        save_random_model(folder / "model")
        vllm = VllmEngine(folder / "model", dtype="float32", max_new_tokens=NEW_TOKENS, max_model_len=512)
        prompts = bare_prompts(folder / "model", samples)
        bare(vllm, prompts[:256])
        for number in range(2):
            forget(vllm)
            with clocked("one llm.generate of all prompts, images decoded before (the ceiling)", count, lines):
                bare(vllm, prompts)
            forget(vllm)
            with clocked("our harness on vLLM", count, lines):
                generate(samples, vllm, PLAIN, folder / f"plain-{number}", method="benchmark")
        forget(vllm)
        requests = [Request(sample.id, load_image(sample.image), PLAIN.render(LABELS)) for sample in samples]
        with clocked("nothing written, only the probabilities of ten labels asked for", count, lines):
            vllm.score_continuations(requests, "<answer>", LABELS)
        single = samples[:SINGLE_CALLS]
        forget(vllm)
        with clocked(f"one llm.generate a sample (the first {len(single)})", len(single), lines):
            for sample in single:
                bare(vllm, bare_prompts(folder / "model", [sample]))
        batched = TransformersEngine(folder / "model", max_new_tokens=NEW_TOKENS, batch_size=64)
        with clocked("our harness on transformers, batches of 64", count, lines):
            generate(samples, batched, PLAIN, folder / "transformers", method="benchmark")
    print(f"{date.today()}, {usable_cores()} CPU cores, {count} images, {NEW_TOKENS} new tokens", *lines, sep="\n")


class Echo:
    """No model: the same answer to every question, so that only the harness uses memory."""

    name, concurrency, requests_per_call = "echo", 1, 32

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """A well-formed answer with choices for each request."""
        text = WITH_CHOICES.write(label=LABELS[0], confidence=0.85)
        choices = (tuple([-2.3] * 10), tuple([-3.0] * 21))
        return [Response(request.sample_id, text, "stop", 7, choices) for request in requests]


class Stream:
    """Rows made on demand; each picture is one of a hundred, read from its own file."""

    def __init__(self, count: int, pictures: Sequence[bytes]) -> None:
        self._count, self._pictures = count, pictures

    def __iter__(self) -> Iterator[Sample]:
        for number in range(self._count):
            yield sample(self._pictures[number % len(self._pictures)] + number.to_bytes(4, "big"), number)


def measure_memory(rows: int) -> None:
    """Print how much the peak memory of many rows through the harness exceeds that of the first thousand."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = [Path(sample.image.root / sample.image.name).read_bytes() for sample in samples_on_disk(folder, 100)
                    if isinstance(sample.image, FileImage)]  # fmt: skip
        generate(Stream(1000, pictures), Echo(), WITH_CHOICES, folder / "few", method="benchmark")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.monotonic()
        generate(Stream(rows, pictures), Echo(), WITH_CHOICES, folder / "many", method="benchmark")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rate = rows / (time.monotonic() - started)
    print(
        f"{date.today()}, {rows} rows, {rate:.0f} a second:"
        f" peak {after:.0f} MiB, {after - before:.0f} MiB above that of 1,000 rows"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure what the harness costs.")
    parser.add_argument("--images", type=int, default=2000, help="images to compare on (default: 2000)")
    parser.add_argument("--rows", type=int, help="measure memory alone, with this many rows")
    arguments = parser.parse_args()
    measure_memory(arguments.rows) if arguments.rows else compare(arguments.images)
