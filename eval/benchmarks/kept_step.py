"""Which rule should select the step that stage 3 keeps? Rules are compared by the Brier score of the step they select.

Simulated stages: the true gain at each of ten evaluations is known, and held-out rows have the noise of paired
differences that was measured in training; a rule is scored by the true gain of its step. Recorded stages: a rule
selects a step on a random subset of the rows in `held_out_costs.jsonl` and is scored on the others.

    python -m eval.benchmarks.kept_step --out eval/results/stage-3-step.md
    python -m eval.benchmarks.kept_step out/3 out/other --rows 484
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emocaliber.stages.calibrate.selection import select_step

Floats = npt.NDArray[np.float64]
Costs = Mapping[int, Floats]

ROWS, LOOKS, STAGES = 484, 10, 1000
ROW_NOISE = 0.12
"""The standard deviation of a row's cost at a late step less its cost at the start: .0135 · √94 on the faces of FER+
(eval/results/real.md), and the intervals against stage 2 in eval/results/tiny-demo.md are of this order."""
SAME = 0.8
"""The correlation of that difference between two neighbouring looks."""

RULES: dict[str, Callable[[Costs, list[str]], int]] = {
    "least Brier score, the start among them": lambda costs, _: min(costs, key=lambda step: float(costs[step].mean())),
    "the last step": lambda costs, _: max(costs),
    "the last, unless worse beyond doubt": lambda costs, clusters: select_step(costs, clusters, 1.0).step,
    "and better than the start at all (gain_alpha .5)": lambda costs, clusters: select_step(costs, clusters, 0.5).step,
    "**and by a standard error (.16)**": lambda costs, clusters: select_step(costs, clusters, 0.16).step,
    "and beyond doubt (.05)": lambda costs, clusters: select_step(costs, clusters, 0.05).step,
}
TRUE_GAINS = {
    "nothing is gained": np.zeros(LOOKS),
    "a gain of .002": np.linspace(0.0, 0.002, LOOKS),
    "a gain of .007": 0.007 * np.minimum(1, np.linspace(0.2, 2, LOOKS)),
    "a gain of .015": 0.015 * np.minimum(1, np.linspace(0.2, 2, LOOKS)),
    "harm of .01": np.linspace(0.0, -0.01, LOOKS),
    "a gain of .01 half-way, lost by the end": 0.01 * np.sin(np.linspace(0.3, np.pi, LOOKS)),
}


def simulate_costs(gains: Floats, rng: np.random.Generator) -> Costs:
    """The costs of a stage with these true gains at its evaluations: noise correlated between evaluations, one row per
    cluster."""
    noise, costs = rng.normal(0, ROW_NOISE, ROWS), {0: np.full(ROWS, 0.2)}
    for look, gain in enumerate(gains, start=1):
        costs[look] = 0.2 - gain + noise
        noise = SAME * noise + np.sqrt(1 - SAME**2) * rng.normal(0, ROW_NOISE, ROWS)
    return costs


def simulate_rules(name: str) -> list[str]:
    """A table line per rule: the mean true gain of the selected step, and how often that is the start."""
    rng, gains = np.random.default_rng(0), TRUE_GAINS[name]
    clusters, true = [str(n) for n in range(ROWS)], np.concatenate([[0.0], gains])
    steps_by_rule: dict[str, list[int]] = {rule: [] for rule in RULES}
    for _ in range(STAGES):
        costs = simulate_costs(gains, rng)
        for rule, choose in RULES.items():
            steps_by_rule[rule].append(choose(costs, clusters))
    return [
        f"{1e4 * true[steps].mean():+.0f} ({np.mean(np.array(steps) == 0):.0%})" for steps in steps_by_rule.values()
    ]


def replay_rules(folder: Path, rows: int) -> list[str]:
    """The same for a finished stage, each row its own cluster: gains on rows that the selection did not use."""
    lines = [json.loads(line) for line in (folder / "held_out_costs.jsonl").read_text().splitlines()]
    costs = {int(line["step"]): np.array(line["costs"]) for line in lines}
    n, rng = len(costs[0]), np.random.default_rng(0)
    if n < 2 * rows:
        raise SystemExit(
            f"{folder}: {n} held-out rows are too few to select by {rows}; give --rows of at most {n // 2}"
        )
    gains: dict[str, list[float]] = {rule: [] for rule in RULES}
    kept_start: dict[str, list[bool]] = {rule: [] for rule in RULES}
    for _ in range(200):
        order = rng.permutation(n)
        selection_rows, judged_rows = order[:rows], order[rows:]
        selection_costs = {step: cost[selection_rows] for step, cost in costs.items()}
        for rule, choose in RULES.items():
            step = choose(selection_costs, [str(i) for i in selection_rows])
            gains[rule].append(float((costs[0] - costs[step])[judged_rows].mean()))
            kept_start[rule].append(step == 0)
    return [f"{1e4 * np.mean(gains[rule]):+.0f} ({np.mean(kept_start[rule]):.0%})" for rule in RULES]


def main() -> None:
    """Print the table, or write it above the hand-written text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", type=Path, help="folders of finished stages (default: simulated ones)")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"held-out rows to choose by (default: {ROWS})")
    parser.add_argument("--out", type=Path, help="the page")
    arguments = parser.parse_args()
    columns = (
        {str(folder): replay_rules(folder, arguments.rows) for folder in arguments.stages}
        if arguments.stages
        else {name: simulate_rules(name) for name in TRUE_GAINS}
    )
    table = ["| rule | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    table += [
        f"| {rule} | " + " | ".join(cells[n] for cells in columns.values()) + " |" for n, rule in enumerate(RULES)
    ]
    text = "\n".join(table) + "\n"
    print(text)
    if arguments.out is not None:
        head = "# Which step stage 3 keeps, and when it is left out\n\n"
        how = f"`python -m eval.benchmarks.kept_step`, {date.today()}, {STAGES:,} simulated stages a column: the true"
        how += " gain of the kept step over the start, in 1e-4 of Brier score (share whose start is kept).\n\n"
        _, mark, words = arguments.out.read_text().partition("\n## ") if arguments.out.exists() else ("", "", "")
        arguments.out.write_text(head + how + text + mark + words)


if __name__ == "__main__":
    main()
