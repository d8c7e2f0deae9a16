"""Are words that do not follow what the model knows under-trained, or learned of the taught pictures alone?

Not a judgement of answers: no label is needed but to fit the temperature. On each set of rows, what is stated
is held against the model's own label probability, tempered, which is what stages 2 and 3 teach it to state. Far from it
on pictures that were taught: under-trained. Near it there and far on fresh ones: over-fitted.

    for split in unlabelled calibrate test; do emocaliber predict kaomoji --split $split --limit 800 --model tiny \\
        --adapter emocaliber/data/tiny-adapter --out out/$split; done
    python -m eval.benchmarks.learning --taught out/unlabelled --fresh out/calibrate --test out/test \\
        --adapter emocaliber/data/tiny-adapter
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from emocaliber.calibration.fit import Recalibrator, fit_recalibrator, signal_of
from emocaliber.core.errors import UserError
from emocaliber.evaluation.verbalization import difference
from emocaliber.stages.clusters import fresh_rows, trained_clusters_of
from eval.benchmarks.verbalization import read_outs

Floats = npt.NDArray[np.float64]
COLUMNS = (
    "rows", "n", "correlation", "slope", "mean level − probability", "squared distance", "of it scatter",
    "squared distance of what is stated",
)  # fmt: skip


@dataclass(frozen=True)
class Spoken:
    """Of n answers: the tempered probability of the stated label, the mean of the levels' distribution and the stated
    level, each (n,), and their clusters."""

    known: Floats
    mean: Floats
    stated: Floats
    clusters: tuple[str, ...]


def spoken(folder: Path, trained: frozenset[str], tempering: Recalibrator) -> Spoken:
    """The readable answers in a folder of `emocaliber predict`, without rows of the `trained` clusters."""
    rows = read_outs(folder, unlabelled=True)
    own = {(row.task, row.id): row for row in tempering.apply(rows.probability, "temperature")}
    expected = {(row.task, row.id): row for row in rows.expected or ()}
    known, mean, stated, clusters = list[float](), list[float](), list[float](), list[str]()
    for row in fresh_rows(rows.stated, trained):
        key = row.task, row.id
        said, level = row.confidence, expected[key].confidence
        if said is None or level is None or row.predicted is None:
            continue
        share = signal_of(replace(own[key], predicted=row.predicted), "distribution")
        if share is not None:
            known.append(share)
            mean.append(level)
            stated.append(said)
            clusters.append(row.cluster)
    if not known:
        raise UserError(f"{folder}: no row has a readable answer and its distributions")
    return Spoken(np.array(known), np.array(mean), np.array(stated), tuple(clusters))


def scatter(known: Floats, mean: Floats) -> float:
    """What the best linear map of the mean level would leave of the squared distance."""
    return float(known.var() * (1 - np.corrcoef(known, mean)[0, 1] ** 2))


def line(name: str, rows: Spoken) -> str:
    """One row of the table."""
    cluster = np.unique(rows.clusters, return_inverse=True)[1]

    def cell(first: Floats, second: Floats, form: str) -> str:
        value, low, high = difference(first, second, cluster)
        return f"{value:{form}} [{low:{form}}, {high:{form}}]"

    cells = [
        name,
        f"{len(rows.known):,} in {cluster.max() + 1:,}",
        f"{np.corrcoef(rows.known, rows.mean)[0, 1]:.3f}",
        f"{np.polyfit(rows.known, rows.mean, 1)[0]:.3f}",
        cell(rows.mean, rows.known, "+.3f"),
        cell((rows.mean - rows.known) ** 2, np.zeros_like(rows.known), ".4f"),
        f"{scatter(rows.known, rows.mean):.4f}",
        cell((rows.stated - rows.known) ** 2, np.zeros_like(rows.known), ".4f"),
    ]
    return "| " + " | ".join(cells) + " |\n"


def table(sets: Mapping[str, Path], fresh: str, adapter: Path | None) -> str:
    """The Markdown table of folders by name; the rows of the one named `fresh` that stage 3 of the adapter did not
    learn from fit the temperature."""
    trained = frozenset[str]() if adapter is None else trained_clusters_of(adapter)
    fit = fresh_rows(read_outs(sets[fresh]).probability, trained)
    tempering = fit_recalibrator(fit, "distribution", "temperature", per_task=True)
    head = f"**{date.today()}: temperature fitted on {len(fit):,} fresh rows; 95 % intervals by cluster**\n\n"
    head += "| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|\n"
    lines = [
        line(name, spoken(folder, trained if name == fresh else frozenset(), tempering))
        for name, folder in sets.items()
    ]
    return head + "".join(lines)


def main() -> None:
    """Print the table of the folders that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folders = {"taught": "rows that stages 2 and 3 learned from", "fresh": "labelled ones that fit the temperature"}
    for name, words in (folders | {"test": "others"}).items():
        parser.add_argument(f"--{name}", type=Path, required=name != "test", help=f"folder of `predict --out`: {words}")
    parser.add_argument("--adapter", type=Path, help="stage 3's: what it learned of --fresh is left out")
    chosen = parser.parse_args()
    sets = {name: folder for name in (*folders, "test") if (folder := getattr(chosen, name)) is not None}
    print(table(sets, "fresh", chosen.adapter))


if __name__ == "__main__":
    main()
