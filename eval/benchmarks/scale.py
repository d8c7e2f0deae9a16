"""Does predicting hold up in size? Unlabelled pictures in one Parquet file, through everything but a model.

An engine of this file's own answers at once, so that reading, checking, decoding, the journal and the files are what is
measured: pictures a second, and the memory above that of a run of 1,000 rows. Each size is a process of its own.

    python eval/benchmarks/scale.py --rows 10000 100000 1000000
    python eval/benchmarks/scale.py --rows 1000 10000 --tiny          the embedded model instead
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
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
from emocaliber.models.location import TINY, TINY_ADAPTER, model_folder

TEMPLATE = load_template("label-confidence")
WARM_UP = 1_000
ROW_GROUP = 100_000
"""Rows in a row group: as pandas and others write them, far more than may be in memory at once."""


class Instant:
    """No model: the same answer to every question, with its choices, at once."""

    name, concurrency, requests_per_call = "instant", 2, 32

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """An answer of the trained form for each request."""
        text = TEMPLATE.write(label=KAOMOJI_10.labels[0], confidence=0.85)
        choices = (tuple([-2.3] * 10), tuple([-3.0] * 21))
        return [Response(request.sample_id, text, "stop", 7, choices) for request in requests]


def write_source(path: Path, rows: int) -> None:
    """Noisy pictures of 56 x 56 pixels, no two files alike, without a label."""
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
    """The engine that answers."""
    if not tiny:
        return Instant()
    from emocaliber.generation.transformers_engine import TransformersEngine

    return TransformersEngine(model_folder(TINY), adapter=TINY_ADAPTER)


def peak() -> float:
    """The highest memory of this process so far, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage would count the process before exec too
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure(source: Path, rows: int, tiny: bool) -> None:
    """Print the line of one size."""
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


def run(source: Path, rows: int, engine: Engine, out: Path) -> None:
    """What `emocaliber predict` does, with an engine of one's own."""
    wanted = PredictionSource((str(source),), KAOMOJI_10.labels, limit=rows)
    checked = wanted.checked()
    generate(Samples(wanted, checked.splits), engine, TEMPLATE, out, method="scale", total=checked.count)


def main() -> None:
    """A table, one size a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--tiny", action="store_true", help="the embedded tiny model answers")
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.source:
        return measure(arguments.source, arguments.rows[0], arguments.tiny)
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
