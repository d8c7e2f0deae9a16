"""The table of the finished runs of calibrators.py: each method's scores on the test rows, and its cost.

Nothing is trained. Seeds are pooled: intervals resample rows (or clusters, if they have several rows), not seeds, whose
Brier scores are listed side by side.

    python eval/benchmarks/calibrators.py --out eval/results/calibrators.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from calibrators_runs import STAGE_2, Found, Rows, read_world, side_by_side
from msgspec import structs

from emocaliber.core.predictions import Prediction, State
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.reporting.tables import plain
from eval.worlds.faces_truth import FaceTruth

READING = "## What it says"
SUBJECTS = ("proper, mean-brier, unlabelled too", "proper, mean-brier")  # the first that ran is held against the rest
SETTINGS = replace(DEFAULTS, bins=15, interval="percentile", replicates=300)
JUDGED = ("label_accuracy", "ece", "brier", "auroc")

HEAD = """# Methods of stage 3 from the same stage-2 model

{today}, 2 CPU cores that other work used too, one thread, torch {torch}. Written by `python
eval/benchmarks/calibrators.py`; its docstring and `METHODS` say what was run. 95 % intervals (bootstrap, percentile,
300 replicates) by row, by cluster where a cluster has several rows; ECE of 15 bins; malformed answers are wrong and
cost 1. Post-hoc maps are fitted on the calibration split, one a task. `known ECE`, on faces: against the known
p(answer), so without the chance of single labels, mean over seeds. `distinct`: how many values are stated. `passes`:
forward passes of one row through the model while training, in thousands, and `CPU seconds` of one core: means over
seeds, a dash where they were not counted; drawing the answers that pairs are made of, asking the stage-2 model and
watching the held-out slice are counted. `kept step`: the step that was kept, by seed; 0 is stage 2
itself.
"""


def render(runs: Path, names: Mapping[str, str], out: Path) -> None:
    """Write the tables of all finished results under `runs`; `names` maps method folders to names. Text under the
    heading READING of the existing file is kept, and its figures must be checked again."""
    _, heading, reading = out.read_text().partition(READING) if out.exists() else ("", "", "")
    parts = [HEAD.format(today=date.today(), torch=torch.__version__)]
    for world, tasks in {"faces": ("faces",), "tiny": ("kaomoji", "emoji")}.items():
        results = read_world(runs / world, names)
        if results.rows:
            parts += [section(part, task) for task in tasks for part in side_by_side(results)]
            parts.append(unselected(results, world))
    out.write_text("\n".join(parts) + ("\n" + heading + reading if heading else ""))
    print(out)


def section(results: Found, task: str) -> str:
    """The table of one task's test rows: for faces those in distribution, followed by the shifts."""
    groups = {row.group for rows in results.rows[STAGE_2].values() for row in rows if row.task == task}
    main = "known" if task == "faces" else None
    card = judged(results, task, main)
    n, seeds = card.methods[0].find("all").n, sorted(results.rows[STAGE_2])
    title = f"## {task}{', in distribution' if main else ''}: n = {n:,} in {len(seeds)} seed(s) {seeds}\n"
    parts = [title, _bayes(results) if main else "", main_table(results, card, task, main)]
    parts += [differences(card, subject(results))]
    if main:
        parts.append(shifts(results, sorted(groups - {main})))
    return "\n".join(parts)


def judged(results: Found, task: str, group: str | None) -> Scorecard:
    """The scorecard of every method's pooled rows, over seeds that all methods have."""
    seeds = set.intersection(*(set(seeds_of_method) for seeds_of_method in results.rows.values()))
    rows = {name: chosen(by_seed, task, group, seeds) for name, by_seed in results.rows.items()}
    return build_scorecard(rows, settings=SETTINGS, subject=subject(results))


def subject(results: Found) -> str:
    """The method that the others are compared with."""
    return next((name for name in SUBJECTS if name in results.rows), STAGE_2)


def chosen(by_seed: Mapping[int, Rows], task: str, group: str | None, seeds: set[int]) -> Rows:
    """One method's rows of a task and group over all seeds; ids include the seed."""
    return [
        structs.replace(row, id=f"{row.id}/{seed}")
        for seed in sorted(seeds)
        for row in by_seed[seed]
        if row.task == task and group in (None, row.group)
    ]


def main_table(results: Found, card: Scorecard, task: str, group: str | None) -> str:
    """One line per method."""
    regretted = ["known ECE", "regret"] if results.truths else []
    columns = [
        "method",
        "accuracy",
        "ECE",
        "Brier",
        "AUROC",
        "distinct",
        *regretted,
        "Brier by seed",
        "CPU seconds",
        "passes",
        "kept step",
    ]
    lines = [columns, ["---"] * len(columns)]
    for name in results.rows:
        scores = card.method(name)
        cells = [plain(scores.find("all").headline.get(metric)) for metric in JUDGED] + [
            f"{scores.distinct_confidences:,}"
        ]
        if results.truths:
            cells += [known_ece(results, name, group), regret(results, name, group)]
        cells.append(", ".join(f"{_brier(rows, task, group):.4f}" for _, rows in sorted(results.rows[name].items())))
        lines.append([name, *cells, *_costs(results, name)])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _costs(results: Found, name: str) -> list[str]:
    spent = [run for _, run in sorted(results.cost.get(name, {}).items())]
    if not spent:
        return ["", "", ""]
    return [
        f"{np.mean([run['cpu_seconds'] for run in spent]):.0f}" if all("cpu_seconds" in run for run in spent) else "–",
        f"{np.mean([run['passes'] for run in spent]) / 1000:.1f}",
        ", ".join(f"{run['kept step']:.0f}" for run in spent if "kept step" in run),
    ]


def _brier(rows: Sequence[Prediction], task: str, group: str | None) -> float:
    costs = [_cost(row) for row in rows if row.task == task and group in (None, row.group)]
    return float(np.mean(costs))


def _cost(row: Prediction) -> float:
    if row.state is not State.OK or row.confidence is None:
        return 1.0
    return (row.confidence - float(row.predicted == row.truth)) ** 2


def regret(results: Found, name: str, group: str | None) -> str:
    """The mean squared difference of the stated confidence and the true probability of the answer, with a normal 95 %
    interval; 1 for a malformed answer."""
    values = np.array(
        [
            1.0 if row.state is not State.OK or row.confidence is None
            else (row.confidence - results.truths[row.id].accuracy(row.predicted)) ** 2
            for rows in results.rows[name].values()
            for row in rows
            if group in (None, row.group)
        ]
    )  # fmt: skip
    half = 1.96 * values.std() / np.sqrt(len(values))
    return f"{values.mean():.4f} [{values.mean() - half:.4f}, {values.mean() + half:.4f}]"


def _bayes(results: Found) -> str:
    known_rows = [
        results.truths[row.id] for rows in results.rows[STAGE_2].values() for row in rows if row.group == "known"
    ]
    accuracy, brier = (
        float(np.mean(values)) for values in zip(*((t.accuracy(), t.brier()) for t in known_rows), strict=True)
    )
    return f"The Bayes optimum on these faces: accuracy {accuracy:.3f}, Brier {brier:.3f}.\n"


def differences(card: Scorecard, subject_name: str) -> str:
    """The differences in Brier score and AUROC between the method and those it is compared with."""
    lines = []
    for comparison in card.comparisons:
        if comparison.kind != "all" or comparison.aggregation != "pooled":
            continue
        if subject_name in {comparison.first, comparison.second}:
            cells = [plain(comparison.headline.get(metric)) for metric in ("brier", "auroc")]
            lines.append(f"| {comparison.first} − {comparison.second} | {' | '.join(cells)} |\n")
    return "\nPaired differences:\n\n| | Brier | AUROC |\n|---|---|---|\n" + "".join(lines)


def shifts(results: Found, groups: Sequence[str]) -> str:
    """Known calibration error, ECE and regret of the stated confidences out of distribution."""
    names = [
        name for name in results.rows if name in results.cost or name.startswith(("stage 2, stated", "label prob"))
    ]
    lines = [
        "\nUnder shift: known ECE [by seed] (ECE, its mean over seeds); regret:\n",
        "| method | " + " | ".join(groups) + " |",
        "|---" * (len(groups) + 1) + "|",
    ]
    for name in names:
        cells = [
            f"{known_ece(results, name, group)} "
            f"{[round(error, 3) for error in _eces(results, name, group, against_truth=True)]} "
            f"({np.mean(_eces(results, name, group, against_truth=False)):.3f}); "
            f"{regret(results, name, group)}"
            for group in groups
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def known_ece(results: Found, name: str, group: str | None) -> str:
    """The calibration error against the known probability of each answer, with 15 bins, averaged over seeds."""
    return f"{np.mean(_eces(results, name, group, against_truth=True)):.3f}"


def _eces(results: Found, name: str, group: str | None, *, against_truth: bool) -> list[float]:
    by_seed = [[row for row in rows if group in (None, row.group)] for _, rows in sorted(results.rows[name].items())]
    return [_ece(rows, results.truths if against_truth else None) for rows in by_seed]


def _ece(rows: Rows, truths: Mapping[str, FaceTruth] | None) -> float:
    usable = [row for row in rows if row.state is State.OK and row.confidence is not None]
    c = np.array([row.confidence for row in usable], dtype=float)
    right = [row.predicted == row.truth if truths is None else truths[row.id].accuracy(row.predicted) for row in usable]
    return float(ece(count_rows(c, np.array(right, dtype=float), invalid=len(rows) - len(usable)), bins=15))


def unselected(results: Found, world: str) -> str:
    """The result of the last training step, which selection on the held-out slice hides, and by how much the selected
    step was better than the start there."""
    columns = ["brier", "ece", "accuracy", "mean", "spread", "distinct", "near_zero", "malformed"]
    rows = len(columns) + 4
    lines = [
        f"\n### {world}: at the last step, on the held-out slice of the calibration split (not selected)\n",
        "| method | seed | lead of the kept step | step | " + " | ".join(columns) + " |",
        "|---" * rows + "|",
    ]
    for name, by_seed in results.watched.items():
        for seed, watched in sorted(by_seed.items()):
            last, kept_step = watched[-1], results.cost[name][seed]["kept step"]
            lead = watched[0]["brier"] - next(line["brier"] for line in watched if line["step"] == kept_step)
            figures = " | ".join(f"{last[column]:.3f}" for column in columns)
            lines.append(f"| {name} | {seed} | {lead:.4f} | {last['step']} | {figures} |")
    return "\n".join(lines) + "\n"
