"""The README's results table and reliability figure, from a finished run of the tiny recipes.

emocaliber run recipes/tiny --out out/demo && emocaliber compare out/demo
emocaliber predict kaomoji --model tiny --template label-confidence --out out/untrained
python eval/benchmarks/first_screen.py out/demo --untrained out/untrained --figure eval/results/reliability.svg
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from emocaliber.baselines.experiment import CALIBRATION, PREDICTIONS
from emocaliber.calibration.fit import temperature_scaled
from emocaliber.core.predictions import Prediction, read_predictions
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.curves import ReliabilityBin
from emocaliber.evaluation.scorecard import Scorecard, Scores
from emocaliber.runs.compare import BASELINES
from emocaliber.runs.judging import STAGE_1, STAGE_2, STATED, Rows, read_rows

TASK, GROUP = "kaomoji", "trained styles"
UNTRAINED, STAGE_1_SCALED = "untrained", "stage 1 + temperature scaling"
METHODS = {
    UNTRAINED: "untrained, asked for a confidence",
    STAGE_1_SCALED: "stage 1, token probability + temperature scaling",
    STAGE_2: "stage 2, verbalized",
    STATED: "**stage 3, verbalized**",
    "edl": "EDL on frozen features",
    "tmc": "TMC on frozen features",
}
METRICS = {
    "accuracy": "accuracy",
    "ece": "ECE",
    "brier": "Brier",
    "auroc": "AUROC",
    "aurc": "AURC",
}


def rows_of(run: Path, untrained: Path, split: str) -> Rows:
    """Each method's rows of the task's group, under the keys of METHODS."""
    rows, fresh = read_rows(run, split), read_rows(run, "calibrate")
    chosen = {
        UNTRAINED: list(read_predictions(untrained / "predictions.jsonl")) if split == "test" else [],
        STAGE_1_SCALED: temperature_scaled(rows[STAGE_1], fresh[STAGE_1], STAGE_1_SCALED),
        STAGE_2: rows[STAGE_2],
        STATED: rows[STATED],
    }
    for name in ("edl", "tmc"):
        path = run / BASELINES / name / (PREDICTIONS if split == "test" else CALIBRATION)
        chosen[name] = list(read_predictions(path)) if path.is_file() else []
    return {name: selected for name, found in chosen.items() if (selected := _of_group(found))}


def _of_group(rows: Sequence[Prediction]) -> list[Prediction]:
    return [row for row in rows if row.task == TASK and row.group == GROUP]


def table(card: Scorecard) -> str:
    """One line per method: metrics with 95 % intervals, and F1 at the threshold chosen on calibration rows."""
    lines = ["| method | " + " | ".join([*METRICS.values(), "trusted F1"]) + " |", "|---" * (len(METRICS) + 2) + "|"]
    for name, title in METHODS.items():
        if name not in {method.name for method in card.methods}:
            continue
        scores = card.method(name).find("all")
        cells = [cell(scores, metric) for metric in METRICS]
        trusted = next((choice for choice in scores.trusted if choice.rule == "best F1"), None)
        lines.append(f"| {title} | " + " | ".join([*cells, shown(trusted.f1.value) if trusted else "–"]) + " |")
    return "\n".join(lines)


def cell(scores: Scores, metric: str) -> str:
    """A value with its interval, as .042 [.016, .057]."""
    estimate = scores.headline.get(metric)
    if estimate is None or estimate.value is None:
        return "–"
    interval = "" if estimate.low is None else f" [{shown(estimate.low)}, {shown(estimate.high)}]"
    return shown(estimate.value) + interval


def shown(value: float | None) -> str:
    """Three decimals without the leading zero."""
    return "–" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def figure(card: Scorecard, path: Path) -> None:
    """Reliability before and after stage 3, side by side."""
    style = {"svg.hashsalt": "emocaliber", "svg.fonttype": "path", "font.size": 10, "axes.spines.top": False}
    with mpl.rc_context({**style, "axes.spines.right": False}):
        drawing = Figure(figsize=(8, 3.6), facecolor="white", layout="constrained")
        for axes, name, title in zip(
            drawing.subplots(1, 2, sharey=True),
            (STAGE_2, STATED),
            ("before: stage 2", "after: stage 3"),
            strict=True,
        ):
            scores = card.method(name).find("all")
            panel(axes, scores.curves.reliability if scores.curves else [], title, cell(scores, "ece"))
        drawing.axes[0].set_ylabel("share that was correct")
        FigureCanvasSVG(drawing).print_svg(path, metadata={"Date": None})


def panel(axes: Axes, bins: Sequence[ReliabilityBin], title: str, ece: str) -> None:
    """Points sized by the number of answers in a bin; grey where a calibrated model's points may fall by chance."""
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (4, 3)))
    most = max((point.count for point in bins), default=1)
    for point in bins:
        axes.vlines(point.mean_confidence, point.band_low, point.band_high, color="#d0d0d0", linewidth=7)
    axes.scatter(
        [point.mean_confidence for point in bins],
        [point.accuracy for point in bins],
        s=[20 + 160 * point.count / most for point in bins],
        color="#1f6fb4",
        zorder=3,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="verbalized confidence", title=f"{title}, ECE {ece}")


def main() -> None:
    """Print the table, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder that `emocaliber compare` has been through")
    parser.add_argument("--untrained", type=Path, required=True, help="--out of `predict` without an adapter")
    parser.add_argument("--figure", type=Path, required=True, help="SVG file to write")
    arguments = parser.parse_args()
    test, calibration = (rows_of(arguments.run, arguments.untrained, split) for split in ("test", "calibrate"))
    card = build_scorecard(test, calibration=calibration, subject=STATED)
    figure(card, arguments.figure)
    seed = json.loads((arguments.run / "report" / "report.json").read_text())["provenance"]["seed"].split(",")[0]
    print(f"{date.today()}, seed {seed}, n = {len(test[STATED]):,} pictures of {TASK}, {GROUP}\n")
    print(table(card))


if __name__ == "__main__":
    main()
