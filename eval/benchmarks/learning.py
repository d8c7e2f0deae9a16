"""Is a model whose stated confidence does not follow its label probability under-trained, or over-fitted?

This does not judge answers; labels only serve to fit the temperature. On each set of rows, the stated confidence is
compared with the model's own temperature-scaled label probability, which stages 2 and 3 train the model to state. If
they differ on training rows, the model is under-trained; if they agree there but differ on fresh rows, it is
over-fitted.

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
from eval.benchmarks.verbalization import load_read_outs

Floats = npt.NDArray[np.float64]
COLUMNS = (
    "rows", "n", "correlation", "slope", "mean level − probability", "squared distance", "of it scatter",
    "squared distance of what is stated",
)  # fmt: skip


@dataclass(frozen=True)
class Confidences:
    """The confidences of n readable answers, each (n,), in [0, 1], and the answers' clusters.

    `probability`: the temperature-scaled probability of the stated label. `mean`: the mean of the distribution over
    the confidence levels. `stated`: the level that is stated.
    """

    probability: Floats
    mean: Floats
    stated: Floats
    clusters: tuple[str, ...]


def read_confidences(folder: Path, excluded: frozenset[str], temperature: Recalibrator) -> Confidences:
    """Read the readable answers in a folder of `emocaliber predict`, except those of the `excluded` clusters.

    Raises UserError if there are none.
    """
    read_outs = load_read_outs(folder, unlabelled=True)
    scaled = {(row.task, row.id): row for row in temperature.apply(read_outs.probability, "temperature")}
    expected = {(row.task, row.id): row for row in read_outs.expected or ()}
    probabilities, means, stated, clusters = list[float](), list[float](), list[float](), list[str]()
    for row in fresh_rows(read_outs.stated, excluded):
        key = row.task, row.id
        mean = expected[key].confidence
        if row.confidence is None or mean is None or row.predicted is None:
            continue
        probability = signal_of(replace(scaled[key], predicted=row.predicted), "distribution")
        if probability is not None:
            probabilities.append(probability)
            means.append(mean)
            stated.append(row.confidence)
            clusters.append(row.cluster)
    if not probabilities:
        raise UserError(f"{folder}: no row has a readable answer and its distributions; give another folder")
    return Confidences(np.array(probabilities), np.array(means), np.array(stated), tuple(clusters))


def residual_variance(probability: Floats, mean: Floats) -> float:
    """The mean squared distance to the probability (n,) that the best linear map of the mean level (n,) leaves."""
    return float(probability.var() * (1 - np.corrcoef(probability, mean)[0, 1] ** 2))


def table_line(name: str, rows: Confidences) -> str:
    """The table's line for one set of rows."""
    cluster = np.unique(rows.clusters, return_inverse=True)[1]

    def cell(first: Floats, second: Floats, form: str) -> str:
        value, low, high = difference(first, second, cluster)
        return f"{value:{form}} [{low:{form}}, {high:{form}}]"

    zeros = np.zeros_like(rows.probability)
    cells = [
        name,
        f"{len(rows.probability):,} in {cluster.max() + 1:,}",
        f"{np.corrcoef(rows.probability, rows.mean)[0, 1]:.3f}",
        f"{np.polyfit(rows.probability, rows.mean, 1)[0]:.3f}",
        cell(rows.mean, rows.probability, "+.3f"),
        cell((rows.mean - rows.probability) ** 2, zeros, ".4f"),
        f"{residual_variance(rows.probability, rows.mean):.4f}",
        cell((rows.stated - rows.probability) ** 2, zeros, ".4f"),
    ]
    return "| " + " | ".join(cells) + " |\n"


def render_table(folders: Mapping[str, Path], fresh: str, adapter: Path | None) -> str:
    """The Markdown table, one line per folder, by name.

    The temperature is fitted on the folder named `fresh`, without the clusters that stage 3 of the adapter trained on.
    """
    trained = frozenset[str]() if adapter is None else trained_clusters_of(adapter)
    fitting_rows = fresh_rows(load_read_outs(folders[fresh]).probability, trained)
    temperature = fit_recalibrator(fitting_rows, "distribution", "temperature", per_task=True)
    head = f"**{date.today()}: temperature fitted on {len(fitting_rows):,} fresh rows; 95 % intervals by cluster**\n\n"
    head += "| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|\n"
    lines = [
        table_line(name, read_confidences(folder, trained if name == fresh else frozenset(), temperature))
        for name, folder in folders.items()
    ]
    return head + "".join(lines)


def main() -> None:
    """Print the table of the given folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    descriptions = {
        "taught": "rows that stages 2 and 3 trained on",
        "fresh": "labelled rows, on which the temperature is fitted",
        "test": "other rows (optional)",
    }
    for name, description in descriptions.items():
        help_text = f"folder of `predict --out`: {description}"
        parser.add_argument(f"--{name}", type=Path, required=name != "test", help=help_text)
    parser.add_argument("--adapter", type=Path, help="stage 3's adapter: clusters that it trained on are not fresh")
    arguments = parser.parse_args()
    folders = {name: folder for name in descriptions if (folder := getattr(arguments, name)) is not None}
    print(render_table(folders, "fresh", arguments.adapter))


if __name__ == "__main__":
    main()
