"""Run the tiny recipes with several seeds, and list their acceptance criteria, times and peak memory, as Markdown.

`make demo` is one such run, without timing. A run that has finished before is only read, and its time is unknown. Text
below the figures, from the first second-level heading on, is written by hand and kept.

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

from emocaliber.runs.judging import STAGE_1, STAGE_2, STATED

HEAD = """# The tiny recipes on their own test rows

{today}, {cores} CPU cores, torch {torch}. Kaomoji: 1,156 test items in two trained styles (n = 2,312) and in the
held-out one (n = 1,156); 95 % intervals by near-duplicate cluster. Written by `eval/benchmarks/demo.py`.

"""
EMOJI = """
Emoji, new to the model: {n} drawings of {clusters} emoji, intervals by emoji. `ece` is against the label that most
raters chose, `agreement_ece` against the share of raters who chose the answer.

"""
EMOJI_METHODS = (STAGE_1, STAGE_2, STATED)
EMOJI_METRICS = ("label_accuracy", "ece", "agreement_ece", "brier", "auroc")
EVERY = 5  # seconds between two looks at the memory: each walks all pages, and takes a tenth of a second


def run(seed: int, out: Path) -> dict[str, Any]:
    """The run's report, with `seconds` and `peak_gib` if it was run now; shared pages count once."""
    report, measured = out / "report" / "report.json", {}
    if not report.exists():
        began, peak = time.monotonic(), 0
        command = [
            sys.executable,
            "-m",
            "emocaliber",
            "run",
            "recipes/tiny",
            "--out",
            str(out),
            "--seed",
            str(seed),
        ]
        with subprocess.Popen(command) as process:
            while process.poll() is None:
                peak = max(peak, memory(process.pid))
                time.sleep(EVERY)
        if process.returncode:
            sys.exit(process.returncode)
        measured = {"seconds": time.monotonic() - began, "peak_gib": peak / 2**30}
    card = json.loads(report.with_name("scorecard.json").read_text())
    return {**json.loads(report.read_text()), "seed": seed, "scorecard": card, **measured}


def memory(pid: int) -> int:
    """Proportional set size, in bytes, of a process and its descendants."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
    return total


def table(rows: list[list[str]], columns: list[str]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def bars(runs: list[dict[str, Any]]) -> str:
    """One row per target, one column per run: the value, its interval, and whether the target is met."""
    rows = [
        [same[0]["name"], same[0]["wanted"], *(_figure(bar["measured"]) + _missed(bar) for bar in same)]
        for same in zip(*(run["criteria"] for run in runs), strict=True)
    ]
    return table(rows, ["bar", "wanted", *(f"seed {run['seed']}" for run in runs)])


def emoji(runs: list[dict[str, Any]]) -> str:
    """One row per stage and metric, one column per run."""
    scores = [{m["name"]: _emoji_scores(m) for m in run["scorecard"]["methods"]} for run in runs]
    rows = [
        [method, metric, *(_figure(scores[method]["headline"][metric]) for scores in scores)]
        for method in EMOJI_METHODS
        for metric in EMOJI_METRICS
    ]
    stated = scores[0][STATED]
    return EMOJI.format(n=stated["n"], clusters=stated["n_clusters"]) + table(
        rows, ["method", "metric", *(f"seed {run['seed']}" for run in runs)]
    )


def _emoji_scores(method: dict[str, Any]) -> dict[str, Any]:
    return next((s for s in method["scores"] if (s["kind"], s["name"]) == ("task", "emoji")), {})


def times(runs: list[dict[str, Any]]) -> str:
    """The time of each run by stage."""
    lines = [""]
    for run in runs:
        seed = run["seed"]
        stages = ", ".join(f"{stage['name']} {stage['seconds']:.0f} s" for stage in run["stages"])
        total = f"; all {run['seconds']:.0f} s, at most {run['peak_gib']:.1f} GiB" if "seconds" in run else ""
        lines.append(f"Seed {seed}: {stages}{total}.")
    return "\n".join(lines) + "\n"


def by_hand(out: Path) -> str:
    """The text of the file from its first second-level heading on."""
    _, heading, after = (out.read_text() if out.exists() else "").partition("\n## ")
    return heading + after


def _figure(estimate: dict[str, float | None]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return "none" if value is None else f"{value:.3f}{interval}"


def _missed(bar: dict[str, Any]) -> str:
    return "" if bar["met"] else " **missed**"


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs; each seed has its own in it")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = [run(seed, arguments.runs / str(seed)) for seed in arguments.seeds]
    provenance = runs[0]["provenance"]
    head = HEAD.format(today=date.today(), cores=provenance["cpu cores usable"], torch=provenance["torch"])
    arguments.out.write_text(head + bars(runs) + emoji(runs) + times(runs) + by_hand(arguments.out))
    print(f"{arguments.out}")


if __name__ == "__main__":
    main()
