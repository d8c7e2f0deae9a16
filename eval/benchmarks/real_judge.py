"""Score the rows that `real read` wrote: against the majority label, the raters' vote shares and a second panel,
compared with people and with post-hoc maps of the label probability that were fitted on fresh rows.

Several files are models of several seeds, each with its own maps; their rows are pooled, and intervals are
bootstraps over faces.

    python -m eval.benchmarks.real_judge rows.jsonl --fresh fresh.jsonl --figure eval/results/real.svg
    python -m eval.benchmarks.real_judge out/pipeline-*/rows/3-test.jsonl --fresh out/pipeline-*/rows/3-fresh.jsonl
    python -m eval.benchmarks.real_judge out/pipeline-*/rows/3-shifted.jsonl --by-group
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from emocaliber.calibration.fit import fit_recalibrator
from emocaliber.calibration.maps import fit_isotonic, fit_temperature, tempered
from emocaliber.evaluation import Scorecard, score
from emocaliber.evaluation.floors import cross_fitted_floors
from emocaliber.reporting.tables import plain
from eval.benchmarks.first_screen import panel
from eval.benchmarks.verbalization import load_real_rows

Floats = npt.NDArray[np.float64]
SHOWN = {
    "accuracy": "accuracy", "ece": "ECE", "brier": "Brier", "auroc": "AUROC", "agreement_ece": "agreement ECE",
    "second_panel_accuracy": "second panel: accuracy", "second_panel_brier": "Brier",
}  # fmt: skip
DISTRIBUTION = {
    "jensen_shannon": "Jensen-Shannon divergence (bits)", "bhattacharyya": "Bhattacharyya coefficient",
    "entropy_rank_correlation": "Spearman of entropies",
}  # fmt: skip
STATED, PROBABILITY, PEOPLE = "stated", "label probability", "the first panel (people)"
TEMPERATURE, ISOTONIC, BEST = "temperature", "isotonic", "best map of all signals"
REPLICATES = 2000


@dataclass(frozen=True)
class Method:
    """A method's answers [n], confidences [n] and, if it has them, distributions over the labels [n, labels]."""

    answers: list[str]
    confidence: Floats
    distribution: Floats | None = None


@dataclass(frozen=True)
class RatedRows:
    """Rows with a majority label. Properties: true labels [n], votes of both panels and beliefs [n, labels]."""

    rows: list[dict[str, Any]]
    labels: list[str]

    @property
    def truths(self) -> list[str]:
        return [row["truth"] for row in self.rows]

    @property
    def beliefs(self) -> Floats:
        return np.array([row["p"] for row in self.rows])

    def counts(self, panel_of: str) -> Floats:
        """Votes of the panel `votes` or `second`."""
        return np.array([[float((row[panel_of] or {}).get(label, 0)) for label in self.labels] for row in self.rows])

    @property
    def truth_codes(self) -> npt.NDArray[np.int64]:
        return np.array([self.labels.index(truth) for truth in self.truths])


def read_rows(path: Path) -> RatedRows:
    """The rows of a file that have a majority."""
    rows = [row for row in map(json.loads, path.read_text().splitlines()) if row["truth"]]
    return RatedRows(rows, list(rows[0]["cands"]))


def pool_models(models: Sequence[tuple[RatedRows, Mapping[str, Method]]]) -> tuple[RatedRows, dict[str, Method]]:
    """The rows of several models, one after the other, and the methods that all of them have."""
    rated = RatedRows([row for own, _ in models for row in own.rows], models[0][0].labels)
    methods = {}
    for name in models[0][1]:
        parts = [own[name] for _, own in models if name in own]
        if len(parts) == len(models):
            answers = [answer for part in parts for answer in part.answers]
            distributions = [part.distribution for part in parts if part.distribution is not None]
            distribution = np.concatenate(distributions) if len(distributions) == len(parts) else None
            methods[name] = Method(answers, np.concatenate([part.confidence for part in parts]), distribution)
    return rated, methods


def build_methods(path: Path, fresh_path: Path | None) -> tuple[RatedRows, dict[str, Method]]:
    """The rows, and the methods to compare: the stated confidence (if there is one), the label probability, maps of it
    fitted on the fresh rows, the best map of any signal by the fresh rows, and people."""
    rated, fresh = read_rows(path), read_rows(fresh_path) if fresh_path else None
    beliefs, methods = rated.beliefs, dict[str, Method]()
    likeliest = [rated.labels[k] for k in beliefs.argmax(1)]
    if "confidence" in rated.rows[0]:
        labels, confidence = ([row[key] for row in rated.rows] for key in ("label", "confidence"))
        methods[STATED] = Method(labels, np.array(confidence), beliefs)
    methods[PROBABILITY] = Method(likeliest, beliefs.max(1), beliefs)
    if fresh is not None:
        scaled = tempered(beliefs, fit_temperature(fresh.beliefs, fresh.truth_codes))
        methods[TEMPERATURE] = Method(likeliest, scaled.max(1), scaled)
        right = fresh.beliefs.argmax(1) == fresh.truth_codes
        methods[ISOTONIC] = Method(likeliest, fit_isotonic(fresh.beliefs.max(1), right)(beliefs.max(1)))
        methods[BEST] = Method(likeliest, best_map_confidences(path, fresh_path))
    if rated.counts("second").any():
        votes = rated.counts("votes")
        methods[PEOPLE] = Method(rated.truths, votes.max(1) / votes.sum(1))
    return rated, methods


def best_map_confidences(path: Path, fresh_path: Path | None) -> Floats:
    """The confidences of the rows of `path` by the map that cross-fitting on the fresh rows finds best."""
    assert fresh_path is not None
    fresh = load_real_rows(fresh_path).probability
    floor = cross_fitted_floors(fresh).best
    return fit_recalibrator(fresh, floor.signal, floor.kind, per_task=True).confidences(
        load_real_rows(path).probability
    )


def score_methods(rated: RatedRows, methods: Mapping[str, Method]) -> dict[str, Scorecard]:
    """The scorecard of each method."""
    votes, second = rated.counts("votes"), rated.counts("second")
    return {
        name: score(
            method.confidence, truth=rated.truths, predicted=method.answers, labels=rated.labels, votes=votes,
            second_votes=second if second.any() else None, distribution=method.distribution, method=name,
            clusters=[row.get("cluster", row["id"]) for row in rated.rows],
        )
        for name, method in methods.items()
    }  # fmt: skip


def table(methods: Mapping[str, Method], cards: Mapping[str, Scorecard], shown: Mapping[str, str]) -> str:
    """A line of figures for each method that has any of them."""
    lines = ["| | values | " + " | ".join(shown.values()) + " |", "|" + " --- |" * (2 + len(shown))]
    for name, card in cards.items():
        # People have no truth but the second panel's.
        keys = [key for key in shown if name != PEOPLE or key.startswith("second")]
        headline = card.methods[0].find("all").headline
        cells = [plain(headline[key]) if key in keys and key in headline else "" for key in shown]
        if any(cells):
            lines.append(f"| {name} | {len(set(np.round(methods[name].confidence, 4)))} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compare_with_maps(rated: RatedRows, methods: Mapping[str, Method]) -> str:
    """The stated confidence's Brier score minus each map's, the best map first, with paired intervals."""
    truths = np.array(rated.truths)
    costs = {name: (m.confidence - (np.array(m.answers) == truths)) ** 2 for name, m in methods.items()}
    maps = [name for name in costs if name in (PROBABILITY, TEMPERATURE, ISOTONIC, BEST)]
    _, face = np.unique([row.get("cluster", row["id"]) for row in rated.rows], return_inverse=True)
    count, rng, lines = np.bincount(face), np.random.default_rng(0), []
    samples = [rng.integers(0, len(count), len(count)) for _ in range(REPLICATES)]
    for name in sorted(maps, key=lambda name: float(costs[name].mean())):
        gap = costs[STATED] - costs[name]
        sums = np.bincount(face, gap)
        low, high = np.quantile([sums[sample].sum() / count[sample].sum() for sample in samples], [0.025, 0.975])
        lines.append(f"Stated above {name}, Brier: {gap.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
    return "\n".join(lines)


def by_group(rated: RatedRows, methods: Mapping[str, Method]) -> str:
    """A table of figures for each group of rows."""
    groups = [row.get("group", "") for row in rated.rows]
    parts = []
    for group in dict.fromkeys(groups):
        indices = np.flatnonzero([own == group for own in groups])
        rows_of_group = RatedRows([rated.rows[n] for n in indices], rated.labels)
        methods_of_group = {
            name: Method([m.answers[n] for n in indices], m.confidence[indices],
                         None if m.distribution is None else m.distribution[indices])
            for name, m in methods.items()
        }  # fmt: skip
        cards = score_methods(rows_of_group, methods_of_group)
        parts.append(f"{group}, n = {len(indices)}\n\n{table(methods_of_group, cards, SHOWN)}\n")
    return "\n".join(parts)


def by_ambiguity(rated: RatedRows, method: Method) -> str:
    """Accuracy and mean confidence by the share of the raters' favourite."""
    votes = rated.counts("votes")
    favourite, right = votes.max(1) / votes.sum(1), np.array(method.answers) == np.array(rated.truths)
    lines = ["| share of the favourite | n | accuracy | mean confidence |", "| --- | --- | --- | --- |"]
    for low, high in ((0.8, 1.01), (0.5, 0.8), (0.0, 0.5)):
        in_range = (favourite >= low) & (favourite < high)
        if in_range.any():
            figures = f"{in_range.sum()} | {right[in_range].mean():.3f} | {method.confidence[in_range].mean():.3f}"
            lines.append(f"| {low:g} to {min(high, 1):g} | {figures} |")
    return "\n".join(lines)


def draw(cards: Mapping[str, Scorecard], names: Sequence[str], path: Path) -> None:
    """Reliability of these methods side by side."""
    with mpl.rc_context({"svg.hashsalt": "emocaliber", "svg.fonttype": "path", "font.size": 10}):
        drawing = Figure(figsize=(4 * len(names), 3.6), facecolor="white", layout="constrained")
        for axes, name in zip(np.atleast_1d(drawing.subplots(1, len(names), sharey=True)), names, strict=True):
            curves = cards[name].methods[0].find("all").curves
            panel(axes, curves.reliability if curves else [], name, f"{cards[name]['ece'].value:.3f}")
            axes.set_xlabel("confidence")
        drawing.axes[0].set_ylabel("share that was correct")
        FigureCanvasSVG(drawing).print_svg(path, metadata={"Date": None})


def main() -> None:
    """Print the tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+", help="files of `real read`, one per model")
    parser.add_argument("--fresh", type=Path, nargs="+", help="files of rows to fit maps on, one per model")
    parser.add_argument("--by-group", action="store_true", help="also print a table for each group of rows")
    parser.add_argument("--figure", type=Path, help="SVG file to write, with reliability diagrams")
    arguments = parser.parse_args()
    fresh = arguments.fresh or [None] * len(arguments.rows)
    rated, methods = pool_models([build_methods(*paths) for paths in zip(arguments.rows, fresh, strict=True)])
    cards = score_methods(rated, methods)
    first = next(iter(methods))
    print(f"n = {len(rated.rows)}\n\n{table(methods, cards, SHOWN)}\n\n{table(methods, cards, DISTRIBUTION)}\n")
    print(f"{by_ambiguity(rated, methods[first])}\n")
    if arguments.by_group:
        print(by_group(rated, methods))
    if STATED in methods:
        print(compare_with_maps(rated, methods))
    if arguments.figure is not None:
        draw(cards, [name for name in methods if name != PEOPLE][:3], arguments.figure)


if __name__ == "__main__":
    main()
