"""Does `predict` scale? Unlabelled images in one Parquet file, through everything except a model.

A stub engine in this file answers immediately, so that reading, checking, decoding, the journal and the files are
measured: images per second, and memory above that of a run of 1,000 rows. Each size runs in its own process.

With `--ray`, the embedded model instead: an engine of this process, and one and two on Ray, answer the same rows in
turn, a tenth of them at a time, so that what else the machine does falls on all of them alike.

    python eval/benchmarks/scale.py --rows 10000 100000 1000000
    python eval/benchmarks/scale.py --rows 1000 10000 --tiny          the embedded model instead
    python eval/benchmarks/scale.py --ray 5000
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from emocaliber.core.environment import usable_cores
from emocaliber.core.predictions import read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.data.sources import PredictionSource, Samples
from emocaliber.generation.engine import Engine, Request, Response
from emocaliber.generation.harness import generate
from emocaliber.generation.questions import RemoteEngine
from emocaliber.models.location import TINY, TINY_ADAPTER, model_folder

TEMPLATE = load_template("label-confidence")
WARM_UP = 1_000
TURNS = 10
QUARTILES = (0.25, 0.5, 0.75)
ROW_GROUP = 100_000
"""Rows in a row group: as pandas and others write them, far more than may be in memory at once."""


class Instant:
    """No model: an immediate answer with choices, the same for every question."""

    name, concurrency, requests_per_call = "instant", 2, 32

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """A well-formed answer for each request."""
        text = TEMPLATE.write(label=KAOMOJI_10.labels[0], confidence=0.85)
        choices = (tuple([-2.3] * 10), tuple([-3.0] * 21))
        return [Response(request.sample_id, text, "stop", 7, choices) for request in requests]


def write_source(path: Path, rows: int) -> None:
    """Noisy, unlabelled pictures of 56 x 56 pixels, all different."""
    noise = np.random.default_rng(0)
    pictures = []
    for _ in range(256):
        buffer = BytesIO()
        Image.fromarray(noise.integers(0, 256, (56, 56, 3), dtype=np.uint8)).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    schema = pa.schema([("id", pa.string()), ("image", pa.binary())])
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for group in _groups(rows):
            images = [pictures[number % 256] + number.to_bytes(4, "big") for number in group]
            writer.write_table(pa.table({"id": [f"frame-{n:08}" for n in group], "image": images}, schema=schema))


def _groups(rows: int) -> Iterator[range]:
    for start in range(0, rows, ROW_GROUP):
        yield range(start, min(rows, start + ROW_GROUP))


def engine_of(tiny: bool) -> Engine:
    """The engine to use."""
    if not tiny:
        return Instant()
    from emocaliber.generation.transformers_engine import TransformersEngine

    return TransformersEngine(model_folder(TINY), adapter=TINY_ADAPTER)


def peak() -> float:
    """The highest memory of this process so far, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage would count the process before exec too
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure(source: Path, rows: int, tiny: bool) -> None:
    """Print the line for one size."""
    engine = engine_of(tiny)
    with tempfile.TemporaryDirectory() as folder:
        run(source, WARM_UP, engine, Path(folder) / "few")
        before, started, cpu = peak(), time.monotonic(), time.process_time()
        run(source, rows, engine, Path(folder) / "all")
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
        written = sum(1 for _ in read_predictions(Path(folder) / "all" / "predictions.jsonl", unlabelled=True))
    if written != rows:
        raise SystemExit(f"{written} rows written of {rows}")
    print(
        f"| {rows:,} | {rows / seconds:,.0f} | {1000 * cpu / rows:.2f} | {before:.0f} | {peak() - before:.0f} |",
        flush=True,
    )


def run(source: Path, rows: int, engine: Engine | RemoteEngine, out: Path) -> None:
    """The work of `emocaliber predict`, with a given engine."""
    wanted = PredictionSource((str(source),), KAOMOJI_10.labels, limit=rows)
    checked = wanted.checked()
    generate(Samples(wanted, checked.splits), engine, TEMPLATE, out, method="scale", total=checked.count)


def compare(rows: int) -> None:
    """Pictures/s and CPU time of each way, and its ratio to an in-process engine, in alternating turns."""
    from emocaliber.generation.ray_cluster import LOCAL, engines_on_ray
    from emocaliber.generation.transformers_engine import TransformersEngine

    build = partial(TransformersEngine, model_folder(TINY), adapter=TINY_ADAPTER)
    with tempfile.TemporaryDirectory() as folder:
        write_source(source := Path(folder) / "rows.parquet", max(rows // TURNS, WARM_UP))
        here = build()
        for count in (1, 2):
            with engines_on_ray(LOCAL, build, count=count) as there:
                ways: dict[str, Engine | RemoteEngine] = {"in this process": here, f"Ray, {count}": there}
                _print_turns(_turns(ways, source, rows // TURNS, Path(folder) / str(count)))


class Turn(NamedTuple):
    """The result of one turn: pictures per second, and CPU milliseconds per picture, of all processes and of this one
    alone."""

    rate: float
    cpu: float
    cpu_here: float


def _turns(ways: Mapping[str, Engine | RemoteEngine], source: Path, rows: int, out: Path) -> Mapping[str, list[Turn]]:
    """Each way's turns, in alternating order; the first, a warm-up, is left out."""
    taken: dict[str, list[Turn]] = {way: [] for way in ways}
    for turn in range(TURNS + 1):
        for way in sorted(ways, reverse=turn % 2 == 0):
            started, cpu, here = time.monotonic(), _cpu_seconds(), time.process_time()
            run(source, rows, ways[way], out / f"{way}, {turn}")
            took, cpu, here = time.monotonic() - started, _cpu_seconds() - cpu, time.process_time() - here
            taken[way] += [Turn(rows / took, 1000 * cpu / rows, 1000 * here / rows)] if turn else []
    return taken


def _cpu_seconds() -> float:
    """CPU seconds of this process and its descendants."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


def _print_turns(taken: Mapping[str, list[Turn]]) -> None:
    print("| way | pictures/s: lowest, median, highest | ms of CPU a picture | of it here | ratio, quartiles |")
    print("|---|---|---|---|---|")
    first = next(iter(taken.values()))
    for way, turns in taken.items():
        rates = [turn.rate for turn in turns]
        ratios = np.quantile([turn.rate / other.rate for turn, other in zip(turns, first, strict=True)], QUARTILES)
        print(
            f"| {way} | {min(rates):.0f}, {median(rates):.0f}, {max(rates):.0f} | {median(t.cpu for t in turns):.1f}"
            f" | {median(t.cpu_here for t in turns):.1f} | {', '.join(f'{ratio:.2f}' for ratio in ratios)} |",
            flush=True,
        )


def main() -> None:
    """Print a table, one line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--tiny", action="store_true", help="the embedded tiny model answers")
    parser.add_argument("--ray", type=int, metavar="ROWS", help="compare engines on Ray with one of this process")
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.source:
        return measure(arguments.source, arguments.rows[0], arguments.tiny)
    if arguments.ray:
        print(f"{date.today()}, {usable_cores()} CPU cores, the tiny model, {arguments.ray} rows in {TURNS} turns")
        return compare(arguments.ray)
    print(f"{date.today()}, {usable_cores()} CPU cores, {'the tiny model' if arguments.tiny else 'an instant engine'}")
    print(
        "| rows | pictures/s | ms of CPU a picture | MiB at 1,000 rows | MiB above |\n|---|---|---|---|---|", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        for rows in arguments.rows:
            source = Path(folder) / f"{rows}.parquet"
            write_source(source, max(rows, WARM_UP))
            options = ["--rows", str(rows), "--source", str(source), *(["--tiny"] if arguments.tiny else [])]
            subprocess.run([sys.executable, __file__, *options], check=True, stderr=subprocess.DEVNULL)
            source.unlink()


if __name__ == "__main__":
    main()
