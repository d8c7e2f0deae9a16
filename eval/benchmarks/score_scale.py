"""Scoring at size: seconds and memory of `emocaliber score` on Parquet parts, each in a process of its own.

Rows have 9 tasks in 3 groups with 8 labels, confidences in hundredths, and 1 % are unreadable. With --pictures each
image has three rows, one per task, which form a cluster. Without it, the parts are links to one file of a million rows:
as much is read, without taking disk space. Memory is the process's own peak (ru_maxrss).

    OMP_NUM_THREADS=1 python eval/benchmarks/score_scale.py --rows 1000000 10000000 100000000
    OMP_NUM_THREADS=1 python eval/benchmarks/score_scale.py --rows 3000000 --pictures
    OMP_NUM_THREADS=1 python eval/benchmarks/score_scale.py --file eval-of-mine.csv
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.prediction_files import SCHEMA
from emocaliber.core.taxonomy import MIKELS_8

PART, GROUP = 1_000_000, 100_000


def main() -> None:
    """Write the parts, score them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    parser.add_argument("--pictures", action="store_true", help="three rows of each picture are a cluster")
    parser.add_argument("--file", type=Path, help="score this file as it is")
    arguments = parser.parse_args()
    print(f"{date.today()}, {os.cpu_count()} CPU cores, load {os.getloadavg()[1]:.1f} over the last 5 minutes\n")
    print("| rows | seconds | of them CPU | peak memory, MB | intervals resample |\n|---|---|---|---|---|")
    if arguments.file:
        measured(arguments.file, arguments.file.name, "as the file says")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_parts(folder, rows, pictures=arguments.pictures)
            measured(folder, f"{rows:,}", "groups of clusters" if arguments.pictures else "rows")


def write_parts(folder: Path, rows: int, *, pictures: bool) -> None:
    """Parts of a million rows; with rows as units, links to the first."""
    for part in range(-(-rows // PART)):
        path = folder / f"part-{part:04d}.parquet"
        if part and not pictures:
            os.link(folder / "part-0000.parquet", path)
            continue
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for first in range(0, min(PART, rows - part * PART), GROUP):
                writer.write_table(answers(part * PART + first, min(GROUP, rows), pictures=pictures))


def answers(first: int, number: int, *, pictures: bool) -> pa.Table:
    """`number` rows starting at this one."""
    random, labels = np.random.default_rng(first), np.array(MIKELS_8.labels)
    place = first + np.arange(number)
    confidence = random.beta(5, 2, number).round(2)
    right = random.random(number) < confidence**1.4
    truth = random.integers(0, 8, number)
    predicted = np.where(right, truth, (truth + random.integers(1, 8, number)) % 8)
    unread = random.random(number) < 0.01
    names = [f"row/{at:09d}" for at in place.tolist()]
    columns = {
        "id": names,
        "task": np.char.add("task ", (place % 9).astype(str)),
        "group": np.char.add("group ", (place % 3).astype(str)),
        "cluster": [f"picture/{at // 3:09d}" for at in place.tolist()] if pictures else names,
        "truth": labels[truth],
        "predicted": pa.array(labels[predicted], mask=unread),
        "confidence": pa.array(confidence, mask=unread),
        "state": np.where(unread, "truncated", "ok"),
        "source": np.full(number, "verbalized"),
        "method": np.full(number, "model"),
    }
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(number, field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def measured(path: Path, name: str, resampled: str) -> None:
    """Score in a separate process and print its line."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "emocaliber", "score", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit((process.stderr.read() if process.stderr else b"").decode())
    cpu = used.ru_utime + used.ru_stime
    print(f"| {name} | {seconds:.1f} | {cpu:.1f} | {used.ru_maxrss / 1024:.0f} | {resampled} |", flush=True)


if __name__ == "__main__":
    main()
