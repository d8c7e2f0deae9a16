"""Speed and memory of the metrics, compared with scikit-learn, netcal, torchmetrics and torch-uncertainty.

Agreement with the peers is checked in tests/evaluation. One core is used (set OMP_NUM_THREADS=1). A peer's bootstrap of
10,000 replicates would take minutes to hours, so a few replicates are timed and scaled up, which the table says.

    OMP_NUM_THREADS=1 python eval/benchmarks/scorecard.py --out eval/results/scorecard-speed.md
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import torch
from netcal.metrics import ECE, MCE
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from torch_uncertainty.metrics.classification import AUGRC, AURC
from torchmetrics.functional.classification import binary_calibration_error

from emocaliber.core.predictions import Prediction, Source, State, write_predictions
from emocaliber.evaluation import calibration, discrimination, proper_scores, selective
from emocaliber.evaluation.cells import MAX_LEVELS, cells
from emocaliber.evaluation.compute import DEFAULTS
from emocaliber.evaluation.confidence_families import confidence_values
from emocaliber.evaluation.counts import Counts, FloatArray, IntArray, count_rows
from emocaliber.evaluation.intervals import interval, replicate
from emocaliber.evaluation.resampling import population

ROWS, SAMPLE, REPLICATES = 1_000_000, 8_032, 10_000
Values = dict[str, FloatArray]


def same_metrics(rows: Counts) -> Values:
    """The metrics that the peers have too."""
    return {
        "Brier": proper_scores.brier_score(rows),
        "log score": proper_scores.log_score(rows),
        "CORP decomposition": proper_scores.corp(rows).miscalibration,
        "ECE": calibration.ece(rows),
        "MCE": calibration.ece(rows, norm="max"),
        "ECE, L2": calibration.ece(rows, norm="l2"),
        "AUROC": discrimination.auroc(rows),
        "average precision": discrimination.average_precision(rows),
        "AURC": selective.aurc(rows),
        "AUGRC": selective.augrc(rows),
    }


def every_metric(rows: Counts) -> Values:
    """All scalar metrics of a scorecard."""
    return confidence_values(rows, DEFAULTS)


def _l2(confidence: FloatArray, right: IntArray) -> None:
    stated, correct = torch.from_numpy(confidence), torch.from_numpy(right)
    binary_calibration_error(stated, correct, n_bins=10, norm="l2", validate_args=False)


def _area(metric: AURC) -> Callable[[FloatArray, IntArray], None]:
    def run(confidence: FloatArray, right: IntArray) -> None:
        metric.reset()
        metric.update(torch.from_numpy(confidence), torch.from_numpy(right))
        metric.compute()

    return run


PEERS: dict[str, tuple[str, Callable[[FloatArray, IntArray], object]]] = {
    "Brier": ("scikit-learn", lambda c, y: brier_score_loss(y, c)),
    "log score": ("scikit-learn", lambda c, y: log_loss(y, np.clip(c, 0.001, 0.999))),
    "CORP decomposition": ("scikit-learn", lambda c, y: np.mean((IsotonicRegression().fit_transform(c, y) - y) ** 2)),
    "ECE": ("netcal", lambda c, y: ECE(10).measure(c, y)),
    "MCE": ("netcal", lambda c, y: MCE(10).measure(c, y)),
    "ECE, L2": ("torchmetrics", _l2),
    "AUROC": ("scikit-learn", lambda c, y: roc_auc_score(y, c)),
    "average precision": ("scikit-learn", lambda c, y: average_precision_score(y, c)),
    "AURC": ("torch-uncertainty", _area(AURC())),
    "AUGRC": ("torch-uncertainty", _area(AUGRC())),
}


def rows_of(n: int, *, grid: bool) -> tuple[FloatArray, IntArray]:
    """Overconfident rows, continuous or rounded to 0.01."""
    rng = np.random.default_rng(0)
    confidence = rng.beta(5, 2, n)
    confidence = confidence.round(2) if grid else confidence
    return confidence, (rng.random(n) < confidence**1.4).astype(np.int64)


def seconds(run: Callable[[], object], times: int) -> float:
    """The median over `times` runs, after a warm-up."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return median(taken)


def peak_bytes(run: Callable[[], object]) -> int:
    """The peak of memory allocated on top of the starting level."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def scalar_section(times: int) -> list[str]:
    """Every scalar metric of a million rows."""
    lines = [
        f"## Scalar metrics, n = {ROWS:,} (median of {times})",
        "",
        "| Seconds | 0.01 grid | continuous |",
        "|---|---|---|",
    ]
    data = [rows_of(ROWS, grid=True), rows_of(ROWS, grid=False)]

    def row(name: str, measure: Callable[[FloatArray, IntArray], float], form: str = "{:.3f}") -> list[float]:
        values = [measure(*case) for case in data]
        lines.append(f"| {name} | " + " | ".join(form.format(value) for value in values) + " |")
        return values

    row(
        "emocaliber: every scalar metric, sorting included",
        lambda c, y: seconds(lambda: every_metric(count_rows(c, y)), times),
    )
    ours = row(
        "emocaliber: those that the peers have", lambda c, y: seconds(lambda: same_metrics(count_rows(c, y)), times)
    )
    total = np.zeros(2)
    for name, (peer, run) in PEERS.items():
        total += row(f"{peer}: {name}", lambda c, y, run=run: seconds(lambda: run(c, y), times))
    lines.append("| peers, sum | " + " | ".join(f"{value:.3f}" for value in total) + " |")
    lines.append("| peers / emocaliber, the same metrics | " + " | ".join(f"{v:.1f}" for v in total / ours) + " |")
    row(
        "emocaliber: peak memory / input",
        lambda c, y: peak_bytes(lambda: every_metric(count_rows(c, y))) / (c.nbytes + y.nbytes),
        "{:.1f}",
    )
    return lines


def bootstrap_section(times: int, peer_replicates: int) -> list[str]:
    """Ten thousand replicates of the metrics that the peers have, and of all."""
    lines = [
        f"## Bootstrap, {REPLICATES:,} replicates of n = {SAMPLE:,} rows with BCa intervals (median of {times})",
        "",
        f"Peers: rows resampled and the same ten metrics computed, timed on {peer_replicates} replicates and scaled to"
        f" {REPLICATES:,}; no interval. Ours, continuous: replicates are of confidences rounded to 1/{MAX_LEVELS}.",
        "",
        "| Seconds | 0.01 grid | continuous |",
        "|---|---|---|",
    ]
    data = [rows_of(SAMPLE, grid=True), rows_of(SAMPLE, grid=False)]
    ours = [seconds(lambda case=case: _intervals(*case, same_metrics), times) for case in data]
    every = [seconds(lambda case=case: _intervals(*case, every_metric), 1) for case in data]
    peers = [_peer_seconds(*case, peer_replicates) for case in data]
    ratios = [theirs / ours_seconds for theirs, ours_seconds in zip(peers, ours, strict=True)]
    for name, values, form in (
        ("emocaliber: the same ten metrics", ours, "{:.2f}"),
        ("emocaliber: every scalar metric, smooth ECE included", every, "{:.1f}"),
        ("peers, scaled", peers, "{:.0f}"),
        ("peers / emocaliber, the same metrics", ratios, "{:.0f}"),
    ):
        lines.append(f"| {name} | " + " | ".join(form.format(value) for value in values) + " |")
    return lines


def _intervals(confidence: FloatArray, right: IntArray, metrics: Callable[[Counts], Values]) -> None:
    rows = cells(confidence, right == 1, np.ones(right.size, bool))
    if rows.values.size > MAX_LEVELS:
        rows = cells(confidence, right == 1, np.ones(right.size, bool), levels=MAX_LEVELS)
    drawn = replicate(
        lambda counts: metrics(rows.correctness(counts)),
        population(rows.codes, rows.size),
        replicates=REPLICATES,
        seed=0,
    )
    for figure in drawn.values():
        interval(figure)


def _peer_seconds(confidence: FloatArray, right: IntArray, number: int) -> float:
    rng = np.random.default_rng(0)

    def one() -> None:
        drawn = rng.integers(0, right.size, right.size)
        for _, run in PEERS.values():
            run(confidence[drawn], right[drawn])

    return seconds(one, number) * REPLICATES


def command_section() -> list[str]:
    """The whole command on a file of a million rows, in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        write_predictions(path, _predictions())
        command = [sys.executable, "-m", "emocaliber", "score", str(path), "--out", folder]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        size = path.stat().st_size
    return [
        f"## `emocaliber score` on {ROWS:,} rows of JSON Lines ({size / 1e6:.0f} MB), 9 tasks, 3 groups, once",
        "",
        "| Wall seconds | CPU seconds | Peak memory, MB |",
        "|---|---|---|",
        f"| {wall:.1f} | {used.ru_utime + used.ru_stime:.1f} | {used.ru_maxrss / 1024:.0f} |",
    ]


def _predictions() -> Iterator[Prediction]:
    labels = ("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness")
    stated, right = rows_of(ROWS, grid=True)
    for number, (confidence, correct) in enumerate(zip(stated.tolist(), right.tolist(), strict=True)):
        name, truth = f"image/{number:07d}", labels[number % 8]
        predicted = truth if correct else labels[(number + 1 + number // 8 % 7) % 8]
        task, group = f"task {number % 9}", f"group {number % 3}"
        refused = number % 97 == 0
        yield Prediction(
            name,
            task,
            group,
            name,
            truth,
            None if refused else predicted,
            None if refused else confidence,
            State.TRUNCATED if refused else State.OK,
            Source.VERBALIZED,
            "model",
        )


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file for the tables")
    parser.add_argument("--times", type=int, default=5, help="runs of which the median is taken")
    parser.add_argument("--peer-replicates", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    peers = ", ".join(
        f"{name} {version(name)}" for name in ("scikit-learn", "netcal", "torchmetrics", "torch-uncertainty")
    )
    lines = [
        "# Speed of the metrics",
        "",
        f"{date.today()}, {os.cpu_count()} CPU cores of which one is used, Python {platform.python_version()},"
        f" numpy {np.__version__}; {peers}. Load average of the machine {os.getloadavg()[0]:.1f}, this run included:"
        " above the number of cores, wall time is longer than the work. Written by `eval/benchmarks/scorecard.py`.",
        "",
        *scalar_section(arguments.times),
        "",
        *bootstrap_section(arguments.times, arguments.peer_replicates),
        "",
        *command_section(),
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(arguments.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
