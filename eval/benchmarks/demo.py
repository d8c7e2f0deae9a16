"""The bars of one or more finished runs of the tiny recipes, side by side, as Markdown.

Not a run: `emocaliber run recipes/tiny --out out/demo --seed 0` makes what is read here.

    python eval/benchmarks/demo.py out/demo [MORE ...] --out eval/results/tiny-demo.md
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

HEAD = """# The tiny recipes on their own test rows

{today}, {cores} CPU cores, {torch} of torch. Kaomoji: 1,156 test items in two trained styles (n = 2,312) and in the
held-out one (n = 1,156); 95 % intervals by near-duplicate cluster. Written by `eval/benchmarks/demo.py`.

"""


def table(runs: list[dict[str, Any]]) -> str:
    """One row a bar, one column a run: the figure, its interval, and whether the bar is met."""
    seeds = [run["provenance"]["seed"].split(",")[0] for run in runs]
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
        lines.append(f"Seed {seed}: {stages}.")
    return "\n".join(lines) + "\n"


def _cell(bar: dict[str, Any]) -> str:
    value, low, high = (bar["measured"][key] for key in ("value", "low", "high"))
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    figure = "none" if value is None else f"{value:.3f}"
    return f"{figure}{interval}{'' if bar['met'] else ' **missed**'}"


def main() -> None:
    """Read the runs' reports and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = [json.loads((run / "report" / "report.json").read_text()) for run in arguments.runs]
    known = runs[0]["provenance"]
    head = HEAD.format(today=date.today(), cores=known["cpu cores usable"], torch=known["torch"])
    arguments.out.write_text(head + table(runs))
    print(f"{arguments.out}")


if __name__ == "__main__":
    main()
