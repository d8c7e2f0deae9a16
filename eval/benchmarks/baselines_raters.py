"""AmbER² on rater votes: what each of its parts adds to cross-entropy on the majority label, and for which images.

For the comparison with the language model see baselines_tiny. Takes files of views with votes; each becomes a section.
Rows of three seeds are scored together; intervals are clustered by the original (an emoji, a face).

    python -m eval.worlds.faces --train 4000 --calibrate 1000 --test 1000 --out out/faces.parquet
    emocaliber baseline features --data emoji --data out/faces.parquet --out out/features
    python eval/benchmarks/baselines_raters.py out/features/emoji.npz out/features/faces.npz \
        --out eval/results/baselines-raters.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec import structs

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.experiment import BaselineRecipe, fit, predictions
from emocaliber.baselines.training import Training
from emocaliber.baselines.view_files import ViewSet, read_views
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.distributional import strata
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.reporting.tables import plain

SEEDS = (0, 1, 2)
STEPS = {
    "cross-entropy on the majority": Amber2(target="majority", expert_weight=0.0, guidance_weight=0.0),
    "cross-entropy on the shares": Amber2(expert_weight=0.0, guidance_weight=0.0),
    "and experts": Amber2(guidance_weight=0.0),
    "and fixed guidance": Amber2(guidance="fixed"),
    "and adaptive guidance (AmbER²)": Amber2(),
}
BASE, *_, OURS = STEPS
SHOWN = ("bhattacharyya", "r2", "jensen_shannon", "agreement_ece", "accuracy")
Rows = dict[str, list[Prediction]]

HEAD = """# AmbER² on rater votes

{today}, 2 CPU cores of which one is used, torch {torch}. Views of the frozen tiny base; seeds 0, 1, 2 pooled, 95 %
intervals by emoji or face. A gain is the paired difference to cross-entropy on the majority, turned so that plus is
better. Accuracy is of the row's label: of an emoji what most people chose, of a face one draw from its truth. Written
by `eval/benchmarks/baselines_raters.py`; what it says: [baselines-reading.md](baselines-reading.md).
"""


def rows_of(views: ViewSet) -> Rows:
    """The test rows of every step, for three seeds."""
    views = taught_the_majority(views)
    rows: Rows = {}
    for name, network in STEPS.items():
        rows[name] = []
        for seed in SEEDS:
            recipe = BaselineRecipe(network, msgspec.structs.replace(Training(), seed=seed))
            made = predictions(fit(recipe, views)[0], views.splits["test"], views.task, name)
            rows[name] += [structs.replace(row, id=f"{row.id}/{seed}") for row in made]
        print(f"{views.task}, {name}: done", flush=True)
    return rows


def taught_the_majority(views: ViewSet) -> ViewSet:
    """Training rows get the raters' plurality label, the first of equals; test rows keep their own. An emoji's label is
    the plurality already; a face's is one more draw from its raters' distribution."""
    splits = dict(views.splits)
    for split in splits.keys() - {"test"}:
        votes = splits[split].votes
        assert votes is not None
        splits[split] = replace(splits[split], labels=np.array(views.classes)[votes.argmax(1)])
    return replace(views, splits=splits)


def steps_table(card: Scorecard) -> str:
    """Every step on all rows, and the gain of the last over the first."""
    lines = [_header("step")]
    for name in STEPS:
        headline = card.method(name).find("all").headline
        lines.append(_line(name, [plain(headline.get(metric)) for metric in SHOWN]))
    return "\n".join([*lines, _line("gain", gains(card))])


def gains(card: Scorecard) -> list[str]:
    """The gain of the last step over the first in each metric; positive is better."""
    comparison = next(
        paired for paired in card.comparisons if {paired.first, paired.second} == {BASE, OURS} and paired.name == "all"
    )
    cells = []
    for metric in SHOWN:
        value = comparison.headline[metric]
        better = 1 if METRICS[metric].better == "higher" else -1
        sign = better if comparison.first == OURS else -better
        low, high = (value.low, value.high) if sign > 0 else (value.high, value.low)
        cells.append(
            plain(replace(value, value=_times(value.value, sign), low=_times(low, sign), high=_times(high, sign)))
        )
    return cells


def strata_table(rows: Rows, classes: Sequence[str]) -> str:
    """The first and last step in each stratum of ambiguity, with the gain."""
    votes = np.array([[(row.votes or {}).get(label, 0) for label in classes] for row in rows[BASE]])
    voted = np.flatnonzero(votes.sum(1) > 0)
    lines = [_header("stratum", "step", "n")]
    for stratum, mask in strata(votes[voted]).items():
        card = judged({name: [rows[name][row] for row in voted[mask]] for name in (BASE, OURS)})
        for name in (BASE, OURS):
            scores = card.method(name).find("all")
            cells = [plain(scores.headline.get(metric)) for metric in SHOWN]
            lines.append(_line(stratum, [name, str(scores.n), *cells]))
        lines.append(_line(stratum, ["gain", str(mask.sum()), *gains(card)]))
    return "\n".join(lines)


def judged(rows: Rows) -> Scorecard:
    """Each step compared with the last."""
    return build_scorecard(rows, subject=OURS)


def chapter(path: Path) -> str:
    """All tables of one file of views."""
    views = read_views(path)
    rows = rows_of(views)
    parts = [f"## {views.task} ({len(views.splits['train'].labels):,} pictures to learn from)"]
    groups = sorted({row.group for row in rows[BASE]})
    for group in groups:
        group_rows = {name: [row for row in made if row.group == group] for name, made in rows.items()}
        parts += [
            f"### {group or 'all'} (n = {len(group_rows[BASE]) // len(SEEDS):,})",
            steps_table(judged(group_rows)),
        ]
    return "\n\n".join([*parts, "### By ambiguity, all groups", strata_table(rows, views.classes)])


def _header(*columns: str) -> str:
    named = [*columns, *(METRICS[metric].title for metric in SHOWN)]
    return _line(named[0], named[1:]) + "\n|" + "---|" * len(named)


def _line(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


def _times(value: float | None, sign: int) -> float | None:
    return None if value is None else sign * value


def main() -> None:
    """Train, score and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path, nargs="+", help="files of views with votes")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    head = HEAD.format(today=date.today(), torch=torch.__version__)
    arguments.out.write_text("\n\n".join([head, *map(chapter, arguments.views)]) + "\n")


if __name__ == "__main__":
    main()
