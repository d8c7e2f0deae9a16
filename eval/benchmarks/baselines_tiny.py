"""The comparison of a finished run with the baselines, as the tables of eval/results/baselines-tiny.md.

Nothing is computed here: `emocaliber compare RUN` has trained and scored, and shows the same in the run's report.

    emocaliber compare out/demo
    python eval/benchmarks/baselines_tiny.py out/demo --out eval/results/baselines-tiny.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec
import torch

from emocaliber.evaluation.scorecard import MethodScores, Scorecard, Scores
from emocaliber.reporting.run_sections import COLUMNS
from emocaliber.reporting.tables import plain
from emocaliber.runs.compare import BASELINES, COMPARED
from emocaliber.runs.judging import STATED

HEAD = """# Baselines on the tiny suites, beside the language model

{today}, 2 CPU cores of which one is used, torch {torch}, seed {seed}. The baselines see what the frozen tiny base sees
(the vision tower's pooled tokens, those of the middle of the picture, the states of its own words about it), train on
the split `train`, stop and are tempered on `calibrate`; the language model was taught by `emocaliber run recipes/tiny`
on the same base. 95 % intervals by cluster (near-duplicate kaomoji; emoji). ECE: 10 bins. Trusted F1: threshold of
greatest F1 on the calibration rows; floor 2A/(1+A). Trained and judged by `emocaliber compare` ({looking:.0f} s to look
at the pictures, {training:.0f} s to train), written by `eval/benchmarks/baselines_tiny.py`; what it says:
[baselines-reading.md](baselines-reading.md).
"""
DIFFERENT = ("accuracy", "ece", "brier", "auroc", "aurc")


def main_table(methods: Sequence[MethodScores], scope: Scores) -> str:
    """Every method on one subset, with the reference methods."""
    columns = [name for name in COLUMNS if name in scope.headline]
    lines = [
        "| method | " + " | ".join((*columns, "trusted F1", "F1 of trusting all")) + " |",
        "|" + "---|" * (len(columns) + 3),
    ]
    for method in methods:
        scores = method.find(scope.kind, scope.name)
        trusted = next((threshold for threshold in scores.trusted if threshold.rule == "best F1"), None)
        cells = [*(plain(scores.headline.get(column)) for column in columns)]
        cells += [plain(trusted.f1), plain(trusted.trust_all_f1)] if trusted else ["–", "–"]
        name = f"*{method.name}*" if method.role == "reference" else method.name
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return f"## {', '.join(scope.tasks)}, {scope.name} (n = {scope.n:,})\n\n" + "\n".join(lines)


def differences(card: Scorecard, task: str) -> str:
    """What stage 3 states minus each baseline, on one task."""
    lines = ["| minus | " + " | ".join(DIFFERENT) + " |", "|" + "---|" * (len(DIFFERENT) + 1)]
    for entry in card.comparisons:
        if (entry.kind, entry.name) == ("task", task) and entry.second in COMPARED:
            lines.append(f"| {entry.second} | " + " | ".join(plain(entry.headline.get(c)) for c in DIFFERENT) + " |")
    return f"## {STATED} minus each baseline, {task}\n\n" + "\n".join(lines)


def main() -> None:
    """Read the scorecard and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder that `emocaliber compare` has been through")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folder = arguments.run / BASELINES
    card = msgspec.json.decode((folder / "scorecard.json").read_bytes(), type=Scorecard)
    took = {name: json.loads((folder / name / "done.json").read_text())["seconds"] for name in ("views", *COMPARED)}
    provenance = json.loads((arguments.run / "report" / "report.json").read_text())["provenance"]
    head = HEAD.format(
        today=date.today(),
        torch=torch.__version__,
        seed=provenance["seed"].split(",")[0],
        looking=took.pop("views"),
        training=sum(took.values()),
    )
    groups = [entry for entry in card.method(STATED).scores if entry.kind == "group" and entry.aggregation == "pooled"]
    parts = [head, *(main_table(card.methods, scope) for scope in groups)]
    arguments.out.write_text("\n\n".join([*parts, *(differences(card, task) for task in card.tasks)]) + "\n")


if __name__ == "__main__":
    main()
