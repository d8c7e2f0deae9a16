"""Run the tiny recipes with several seeds, and put their bars, times and peak memory side by side, as Markdown.

Not the demo itself: that is one run without the clock. A run that is finished already is only read, its time unknown.

    python eval/benchmarks/demo.py --seeds 0 1 2 --runs out/seeds --out eval/results/tiny-demo.md
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import psutil

HEAD = """# The tiny recipes on their own test rows

{today}, {cores} CPU cores, {torch} of torch. Kaomoji: 1,156 test items in two trained styles (n = 2,312) and in the
held-out one (n = 1,156); 95 % intervals by near-duplicate cluster. Written by `eval/benchmarks/demo.py`.

"""
EVERY = 0.5  # seconds between two looks at the memory


def run(seed: int, out: Path) -> dict[str, Any]:
    """The run's report, with `seconds` and `peak_gib` where it was run now; pages that processes share count once."""
    report, measured = out / "report" / "report.json", {}
    if not report.exists():
        began, peak = time.monotonic(), 0
        command = [
            sys.executable,
            "-m",
            "emocaliber.cli",
            "run",
            "recipes/tiny",
            "--out",
            str(out),
            "--seed",
            str(seed),
        ]
        with subprocess.Popen([sys.executable, "-m", *command]) as process:
            while process.poll() is None:
                peak = max(peak, memory(process.pid))
                time.sleep(EVERY)
        if process.returncode:
            sys.exit(process.returncode)
        measured = {"seconds": time.monotonic() - began, "peak_gib": peak / 2**30}
    return {**json.loads(report.read_text()), "seed": seed, **measured}


def memory(pid: int) -> int:
    """Proportional set size, in bytes, of a process and all that it started."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
    return total


def table(runs: list[dict[str, Any]]) -> str:
    """One row a bar, one column a run: the figure, its interval, and whether the bar is met."""
    seeds = [run["seed"] for run in runs]
    lines = [
        "| bar | wanted | " + " | ".join(f"seed {seed}" for seed in seeds) + " |",
        "|---|---|" + "---|" * len(runs),
    ]
    for bars in zip(*(run["bars"] for run in runs), strict=True):
        cells = [_cell(bar) for bar in bars]
        lines.append(f"| {bars[0]['name']} | {bars[0]['wanted']} | " + " | ".join(cells) + " |")
    lines.append("")
    for seed, run in zip(seeds, runs, strict=True):
        stages = ", ".join(f"{stage['name']} {stage['seconds']:.0f} s" for stage in run["stages"])
        whole = f"; all {run['seconds']:.0f} s, at most {run['peak_gib']:.1f} GiB" if "seconds" in run else ""
        lines.append(f"Seed {seed}: {stages}{whole}.")
    return "\n".join(lines) + "\n"


def _cell(bar: dict[str, Any]) -> str:
    value, low, high = (bar["measured"][key] for key in ("value", "low", "high"))
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    figure = "none" if value is None else f"{value:.3f}"
    return f"{figure}{interval}{'' if bar['met'] else ' **missed**'}"


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs; each seed has its own in it")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = [run(seed, arguments.runs / str(seed)) for seed in arguments.seeds]
    known = runs[0]["provenance"]
    head = HEAD.format(today=date.today(), cores=known["cpu cores usable"], torch=known["torch"])
    arguments.out.write_text(head + table(runs))
    print(f"{arguments.out}")


if __name__ == "__main__":
    main()
