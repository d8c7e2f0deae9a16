"""The baselines on the handwritten digits in six views: the papers' settings, ours, and what makes the difference.

This is not a test (see tests/baselines/test_digits.py). The rows of every setting and seed are stored under --work, so
that an interrupted run can resume. It uses one thread.

    python eval/benchmarks/baselines.py ../shared/data/multiview/handwritten_6views.npz --out eval/results/baselines.md
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec import structs

from emocaliber.baselines.estimator import Estimator
from emocaliber.baselines.evidential import Tmc
from emocaliber.baselines.experiment import NETWORKS, BaselineRecipe, fit, load_recipe, predictions
from emocaliber.baselines.training import Training
from emocaliber.baselines.view_files import ViewSet, read_views
from emocaliber.core.predictions import Prediction, read_predictions, write_predictions
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.scorecard import Estimate
from emocaliber.reporting.tables import plain

SEEDS = (0, 1, 2)
RECIPES = Path(__file__).parents[2] / "recipes" / "baselines"
COLUMNS = ("accuracy", "ece", "brier", "auroc")
PUBLIC = ("tmc-public", "ecml-public")

HEAD = """# Baselines on the handwritten digits

{today}, {cores} CPU cores of which one is used, torch {torch}. UCI "Multiple Features", six views, the TMC paper's
split: 1,600 training rows, n = 400 test rows, seeds 0, 1, 2 pooled (95 % BCa intervals, resampled by test row).
ECE: 15 bins of equal width. s: CPU seconds of training, mean over seeds. Written by `eval/benchmarks/baselines.py`;
what it says: [baselines-reading.md](baselines-reading.md).
"""


def settings() -> dict[str, BaselineRecipe]:
    """Every setting by its name in the table."""
    named = {name: load_recipe(RECIPES / f"{name}.yaml") for name in PUBLIC}
    return named | {name: BaselineRecipe(network) for name, network in NETWORKS.items()} | dict(changes())


def changes() -> Iterator[tuple[str, BaselineRecipe]]:
    """Our settings of TMC, each with one choice of the papers instead of ours."""
    ours, training = Tmc(), Training()
    for what, changed in (
        ("with the divergence", {"kl_weight": 1.0}),
        ("with the expected cross-entropy", {"objective": "digamma"}),
        ("with softplus evidence", {"evidence": "softplus"}),
        ("without a hidden layer", {"hidden": ()}),
    ):
        yield f"tmc {what}", BaselineRecipe(msgspec.structs.replace(ours, **changed))
    for what, how in (("without a temperature", {"calibrate": False}), ("scaled to 0…1", {"scaling": "minmax"})):
        yield f"tmc {what}", BaselineRecipe(ours, msgspec.structs.replace(training, **how))


def rows_of(name: str, recipe: BaselineRecipe, seed: int, views: ViewSet, work: Path) -> tuple[list[Prediction], float]:
    """The test rows of one setting and seed, with clusters that span seeds; and the CPU seconds of training."""
    path, cost = work / f"{name}-{seed}.jsonl", work / f"{name}-{seed}.json"
    if not cost.is_file():
        began = time.process_time()
        training = msgspec.structs.replace(recipe.training, seed=seed)
        estimator, _ = fit(BaselineRecipe(recipe.network, training), views)
        seconds = time.process_time() - began
        write_predictions(path, list(_by_seed(estimator, views, name, seed)))
        cost.write_text(json.dumps({"seconds": seconds}))
        print(f"{name}, seed {seed}: {seconds:.1f} s", flush=True)
    return list(read_predictions(path)), float(json.loads(cost.read_text())["seconds"])


def _by_seed(estimator: Estimator, views: ViewSet, name: str, seed: int) -> Iterator[Prediction]:
    """The rows with the certainty 1 - u in place of the label probability, which these rows lack."""
    test = views.splits["test"]
    certainty = 1 - estimator.predict_opinion(test.views).uncertainty.double().numpy()
    for row, certain in zip(predictions(estimator, test, views.task, name), certainty, strict=True):
        share = float(np.clip(certain, 0, 1))
        yield structs.replace(row, id=f"{row.id}/{seed}", cluster=row.id, probability=share, distribution=None)


def measured(rows: Sequence[Prediction]) -> dict[str, Estimate]:
    """The headline metrics of one method's rows."""
    card = build_scorecard({"method": rows}, settings=replace(DEFAULTS, bins=15))
    return card.method("method").find("all").headline


def _right(rows: Sequence[Prediction]) -> list[bool]:
    return [row.predicted == row.truth for row in rows]


def table(names: Sequence[str], seeds: Sequence[int], views: ViewSet, work: Path) -> str:
    """Markdown: one row per setting, scored by its highest mean probability, with 1 - u beside it."""
    lines = ["| setting | accuracy | ECE | Brier | AUROC | ECE of 1 − u | s |", "|" + "---|" * 7]
    every = settings()
    for name in names:
        made = [rows_of(name, every[name], seed, views, work) for seed in seeds]
        rows = [row for seed_rows, _ in made for row in seed_rows]
        figures = measured(rows)
        certain = float(ece(count_rows([row.probability or 0.0 for row in rows], _right(rows)), bins=15))
        seconds = np.mean([cost for _, cost in made])
        cells = [name, *(plain(figures.get(column)) for column in COLUMNS), f"{certain:.3f}", f"{seconds:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path)
    parser.add_argument("--work", type=Path, default=Path("out/baselines/digits"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    views = read_views(arguments.views)
    head = HEAD.format(today=date.today(), cores=2, torch=torch.__version__)
    difference = [*reversed(PUBLIC), *(name for name, _ in changes()), "tmc"]
    parts = [
        head,
        "## Methods",
        table(["tmc-public", *NETWORKS], SEEDS, views, arguments.work),
        "## The papers' settings, and what makes the difference for TMC (seed 0)",
        table(difference, SEEDS[:1], views, arguments.work),
    ]
    arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
