"""How long checking and converting many small pictures takes, with how much memory, and again after kill -9.

Not a test: figures depend on the machine. Pictures are 64x64 noise, smoothed, as PNG, in eight classes and three
splits, beside a JSON Lines file with votes.

    python eval/benchmarks/data.py --rows 100000 > eval/results/data.md
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from emocaliber.core.taxonomy import MIKELS_8

SIDE = 64
PER_FOLDER = 1000


def main() -> None:
    """Make the pictures, run the commands, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--kill", action="store_true", help="also kill each command half-way, and run it again")
    parser.add_argument("--note", default="", help="a sentence for the result, such as what else ran")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = write_pictures(Path(folder), arguments.rows)
        print_results(measure(source, Path(folder), arguments.workers, kill=arguments.kill), arguments)


def write_pictures(folder: Path, rows: int) -> Path:
    """The pictures and the file that names them."""
    random = np.random.default_rng(0)
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(rows):
            name = f"{number // PER_FOLDER:04d}/{number:06d}.png"
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(picture(random))
            votes = dict(zip(MIKELS_8.labels, random.multinomial(20, [0.3] + [0.1] * 7).tolist(), strict=True))
            split = ("train", "train", "train", "calibrate", "test")[number % 5]
            file.write(json.dumps({"image": name, "votes": votes, "raters": 20, "split": split}) + "\n")
    return folder / "rows.jsonl"


def picture(random: np.random.Generator) -> bytes:
    """Smoothed noise, as PNG."""
    buffer = io.BytesIO()
    noise = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def measure(source: Path, folder: Path, workers: int, *, kill: bool) -> list[tuple[str, float, float, float]]:
    """What was run, its seconds, those of CPU, and its peak memory in megabytes, all processes together."""
    command = [sys.executable, "-m", "emocaliber.cli", "data"]
    check = [*command, "check", str(source), "--taxonomy", "mikels-8", "--workers", str(workers), "--out"]
    convert = [*command, "convert", str(source), "--taxonomy", "mikels-8", "--out"]
    results = [("check", *run([*check, str(folder / "check")]))]
    results.append(("convert", *run([*convert, str(folder / "a.parquet")])))
    if kill:
        half_way = results[0][1] / 2
        run([*check, str(folder / "killed")], half_way)
        results.append((f"check, after a kill at {half_way:.0f} s", *run([*check, str(folder / "killed")])))
        half_way = results[1][1] / 2
        run([*convert, str(folder / "b.parquet")], half_way)
        results.append((f"convert, after a kill at {half_way:.0f} s", *run([*convert, str(folder / "b.parquet")])))
        same = (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
        assert same, "the killed conversion ended with another file"
    return results


def run(command: list[str], kill_after: float | None = None) -> tuple[float, float, float]:
    """Seconds, CPU seconds and megabytes of a command; it must end well, or is killed by SIGKILL with its children."""
    started, peak, before = time.monotonic(), 0.0, cpu()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        if kill_after is not None and time.monotonic() - started > kill_after:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            break
        peak = max(peak, memory(process.pid))
        time.sleep(0.2)
    assert process.returncode == (0 if kill_after is None else -signal.SIGKILL), process.returncode
    return time.monotonic() - started, cpu() - before, peak


def cpu() -> float:
    """CPU seconds of all children so far; of a killed command its own processes' children are missing, and
    always those of the fork server that decode pictures."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(pid: int) -> float:
    """Megabytes of a process and its children; what they share is counted once."""
    try:
        root = psutil.Process(pid)
        return sum(float(process.memory_full_info().pss) for process in (root, *root.children(recursive=True))) / 1e6
    except psutil.Error:
        return 0.0


def print_results(results: list[tuple[str, float, float, float]], arguments: argparse.Namespace) -> None:
    """As Markdown."""
    print("# Checking and converting many small pictures\n")
    print(f"`python eval/benchmarks/data.py --rows {arguments.rows}`, {date.today()}, {os.cpu_count()} CPU cores,")
    print(f"{arguments.workers} workers, n = 1 run. {arguments.rows:,} PNG files of {SIDE} pixels, votes of 20 raters.")
    print(f"{arguments.note}\n" if arguments.note else "")
    print("| command | seconds | CPU seconds, without decoding | peak memory (MB, all processes) |\n|---|---|---|---|")
    for what, seconds, cpu_seconds, megabytes in results:
        print(f"| {what} | {seconds:.0f} | {cpu_seconds:.0f} | {megabytes:.0f} |")


if __name__ == "__main__":
    main()
