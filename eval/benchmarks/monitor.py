"""`emocaliber monitor`: the false alarm rate while nothing changes, and the number of rows until a change is detected.

The confidences and outcomes are those of a published recogniser on real faces (../shared/data/outputs/fer-package.csv:
the package `fer` on FER+), drawn with replacement; its labels are drawn with the shares of FER+, as the file has none;
two answers in a hundred are unreadable and one row in five has a label. The reference has 1,000 rows, a week 100.

    python eval/benchmarks/monitor.py                  # about 20 minutes; writes eval/results/monitor.md
    python eval/benchmarks/monitor.py --deployments 20 --trials 5 --out /tmp/monitor.md
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import beta

from emocaliber.evaluation.monitoring import STREAMS, Monitor

FILE = Path("../shared/data/outputs/fer-package.csv")
LABELS = np.array(["neutral", "happiness", "surprise", "sadness", "anger", "fear", "disgust", "contempt"])
SHARES = np.array([0.355, 0.26, 0.125, 0.122, 0.087, 0.024, 0.014, 0.013])
REFERENCE, WEEK, BEFORE, ALPHA = 1000, 100, 20, 0.05


@dataclass(frozen=True)
class World:
    """How rows are drawn: the label shares, the share of hard pictures (from the least confident third), of unreadable
    answers, of right answers turned wrong, and of labelled rows."""

    shares: np.ndarray
    hard: float = 0.0
    unreadable: float = 0.02
    wronged: float = 0.0
    labelled: float = 0.2


Rows = tuple[list[str | None], np.ndarray, np.ndarray]


def draw(rng: np.random.Generator, real: np.ndarray, n: int, world: World) -> Rows:
    """Labels, confidences and outcomes (NaN without a label) of n rows."""
    ordered = real[np.argsort(real[:, 0])]
    place = rng.integers(0, len(real), n)
    place = np.where(rng.random(n) < world.hard, rng.integers(0, len(real) // 3, n), place)
    confidence, correct = ordered[place].T
    correct = np.where(rng.random(n) < world.wronged, 0.0, correct)
    labels = rng.choice(LABELS, n, p=world.shares / world.shares.sum())
    unread = rng.random(n) < world.unreadable
    named = [None if gone else str(label) for label, gone in zip(labels, unread, strict=True)]
    return named, confidence, np.where(rng.random(n) < world.labelled, correct, np.nan)


def begun(rng: np.random.Generator, real: np.ndarray, usual: World) -> Monitor:
    """A monitor of a fully labelled reference."""
    return Monitor.of_reference(*draw(rng, real, REFERENCE, replace(usual, labelled=1.0)), alpha=ALPHA)


def week(monitor: Monitor, number: int, rows: Rows) -> None:
    """One more week's rows."""
    monitor.update([f"{number}/{row}" for row in range(len(rows[0]))], *rows)


def false_alarms(real: np.ndarray, usual: World, deployments: int, weeks: int, seed: int = 0) -> list[Monitor]:
    """Monitors after so many weeks without a change."""
    done = []
    for deployment in range(deployments):
        rng = np.random.default_rng([seed, deployment])
        monitor = begun(rng, real, usual)
        for number in range(weeks):
            week(monitor, number, draw(rng, real, WEEK, usual))
        done.append(monitor)
    return done


def delays(
    real: np.ndarray, usual: World, changed: World, trials: int, most: int = 60
) -> tuple[np.ndarray, list[str], int]:
    """Rows from the change to the alarm, infinite if there is none in `most` weeks; the stream that raised it; and the
    number of alarms before the change."""
    rows, first, early = [], [], 0
    for trial in range(trials):
        rng = np.random.default_rng([1, trial])
        monitor = begun(rng, real, usual)
        for number in range(BEFORE):
            week(monitor, number, draw(rng, real, WEEK, usual))
        early += bool(monitor.alarms)
        number = BEFORE
        while not monitor.alarms and number < BEFORE + most:
            week(monitor, number, draw(rng, real, 50, changed))
            number += 1
        rows.append(50 * (number - BEFORE) if monitor.alarms else np.inf)
        first.append(monitor.alarms[0].stream if monitor.alarms else "none")
    return np.array(rows), first, early


def main() -> None:
    """Run the simulations and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--weeks", type=int, default=52)
    parser.add_argument("--long", type=int, default=10_000, help="weeks of one monitor that never ends")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("eval/results/monitor.md"))
    arguments = parser.parse_args()
    with FILE.open(encoding="utf-8") as file:
        real = np.array([[float(row["confidence"]), float(row["correct"])] for row in csv.DictReader(file)])
    usual, began = World(SHARES), time.time()
    monitors = false_alarms(real, usual, arguments.deployments, arguments.weeks)
    alarmed = sum(bool(monitor.alarms) for monitor in monitors)
    low, high = beta.ppf([0.025, 0.975], [alarmed, alarmed + 1], [len(monitors) - alarmed + 1, len(monitors) - alarmed])
    [endless] = false_alarms(real, usual, 1, arguments.long, seed=2)
    lines = [
        f"{len(monitors)} deployments of {arguments.weeks} weeks ({len(monitors) * arguments.weeks:,} weeks in all):"
        f" {alarmed} had an alarm, {alarmed / len(monitors):.3f} [{np.nan_to_num(low):.3f}, {high:.3f}], promised at"
        f" most {ALPHA:g}.",
        "",
        f"One monitor for {arguments.long:,} weeks ({arguments.long * WEEK:,} rows):"
        f" {len(endless.alarms)} alarms; highest evidence {max(endless.streams[name].peak for name in STREAMS):.1f} of"
        f" {endless.threshold:g}.",
        "",
        f"| after {BEFORE} weeks | rows until the alarm: median | 95 % of trials | never in 3,000 rows | found by |",
        "|---|---|---|---|---|",
    ]
    prior = SHARES.copy()
    prior[[0, 3]] = SHARES[[0, 3]] + (-0.15, 0.15)
    small = SHARES.copy()
    small[[0, 3]] = SHARES[[0, 3]] + (-0.06, 0.06)
    fewer_right = replace(usual, wronged=0.25)
    changes = {
        "prior: sadness .12 → .27, neutral as much less": replace(usual, shares=prior),
        "prior: sadness .12 → .18": replace(usual, shares=small),
        "camera: half of the pictures are hard ones": replace(usual, hard=0.5),
        "camera: a quarter of the pictures are hard ones": replace(usual, hard=0.25),
        "unreadable answers .02 → .08": replace(usual, unreadable=0.08),
        "accuracy: one right answer in four turns wrong, one row in five has a label": replace(usual, wronged=0.25),
        "the same, every row has a label": replace(fewer_right, labelled=1.0),
    }
    for title, changed in changes.items():
        rows, first, early = delays(real, usual, changed, arguments.trials)
        kept = ", ".join(f"{name} {first.count(name)}" for name in dict.fromkeys(first))
        late = np.quantile(rows, 0.95, method="higher")
        shown = "more than 3,000" if np.isinf(late) else f"{late:,.0f}"
        middle = np.quantile(rows, 0.5, method="higher")
        lines.append(f"| {title} | {middle:,.0f} | {shown} | {int(np.isinf(rows).sum())} of {rows.size} | {kept} |")
        print(lines[-1], f"early {early}", f"{time.time() - began:.0f} s", flush=True)
    text = arguments.out.read_text(encoding="utf-8") if arguments.out.exists() else "# Monitor\n\n<!-- figures -->\n"
    head, _, rest = text.partition("<!-- figures -->\n")
    tail = rest.partition("<!-- end -->\n")[2]
    figures = "\n".join(lines)
    arguments.out.write_text(f"{head}<!-- figures -->\n{figures}\n<!-- end -->\n{tail}", encoding="utf-8")
    print(figures)


if __name__ == "__main__":
    main()
