"""What `real read` wrote, judged: against the majority, the raters' shares and a second panel, beside people, and
beside maps of the label's probability that were fitted on fresh rows.

    python -m eval.benchmarks.real_judge rows.jsonl --fresh fresh.jsonl --figure eval/results/real.svg
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

from emocaliber.calibration.maps import fit_isotonic, fit_temperature, tempered
from emocaliber.evaluation import Scorecard, score
from emocaliber.reporting.tables import plain
from eval.benchmarks.first_screen import panel

Floats = npt.NDArray[np.float64]
SHOWN = {
    "accuracy": "accuracy", "ece": "ECE", "brier": "Brier", "auroc": "AUROC", "agreement_ece": "agreement ECE",
    "second_panel_accuracy": "second panel: accuracy", "second_panel_brier": "Brier",
}  # fmt: skip
DISTRIBUTION = {
    "jensen_shannon": "Jensen-Shannon divergence (bits)", "bhattacharyya": "Bhattacharyya coefficient",
    "entropy_rank_correlation": "Spearman of entropies",
}  # fmt: skip
STATED, PEOPLE = "stated", "the first panel (people)"
REPLICATES = 2000


@dataclass(frozen=True)
class Method:
    """Its answers [n] and confidences [n], and the distribution over the labels [n, labels] where it has one."""

    answers: list[str]
    confidence: Floats
    distribution: Floats | None = None


@dataclass(frozen=True)
class Asked:
    """The rows that have a majority: the labels, the truths [n], votes of both panels and beliefs [n, labels]."""

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


def read(path: Path) -> Asked:
    """The rows of a file that have a majority."""
    rows = [row for row in map(json.loads, path.read_text().splitlines()) if row["truth"]]
    return Asked(rows, list(rows[0]["cands"]))


def methods_of(asked: Asked, fresh: Asked | None) -> dict[str, Method]:
    """What is stated, where something is, the label's probability, maps of it fitted on fresh rows, and people."""
    beliefs, methods = asked.beliefs, dict[str, Method]()
    best = [asked.labels[k] for k in beliefs.argmax(1)]
    if "confidence" in asked.rows[0]:
        said, confidence = ([row[key] for row in asked.rows] for key in ("label", "confidence"))
        methods[STATED] = Method(said, np.array(confidence), beliefs)
    methods["label probability"] = Method(best, beliefs.max(1), beliefs)
    if fresh is not None:
        scaled = tempered(beliefs, fit_temperature(fresh.beliefs, fresh.truth_codes))
        methods["temperature"] = Method(best, scaled.max(1), scaled)
        right = fresh.beliefs.argmax(1) == fresh.truth_codes
        methods["isotonic"] = Method(best, fit_isotonic(fresh.beliefs.max(1), right)(beliefs.max(1)))
    if asked.counts("second").any():
        votes = asked.counts("votes")
        methods[PEOPLE] = Method(asked.truths, votes.max(1) / votes.sum(1))
    return methods


def cards_of(asked: Asked, methods: Mapping[str, Method]) -> dict[str, Scorecard]:
    """A scorecard a method."""
    votes, second = asked.counts("votes"), asked.counts("second")
    return {
        name: score(
            method.confidence, truth=asked.truths, predicted=method.answers, labels=asked.labels, votes=votes,
            second_votes=second if second.any() else None, distribution=method.distribution, method=name,
        )
        for name, method in methods.items()
    }  # fmt: skip


def table(methods: Mapping[str, Method], cards: Mapping[str, Scorecard], shown: Mapping[str, str]) -> str:
    """A line of figures for each method that has any of them."""
    lines = ["| | values | " + " | ".join(shown.values()) + " |", "|" + " --- |" * (2 + len(shown))]
    for name, card in cards.items():
        # People have no truth but the second panel's.
        keys = [key for key in shown if name != PEOPLE or key.startswith("second")]
        found = card.methods[0].find("all").headline
        cells = [plain(found[key]) if key in keys and key in found else "" for key in shown]
        if any(cells):
            lines.append(f"| {name} | {len(set(np.round(methods[name].confidence, 4)))} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def above_best_map(asked: Asked, methods: Mapping[str, Method]) -> str:
    """By how much the Brier score of what is stated is above the best map's, paired by row."""
    truths = np.array(asked.truths)
    costs = {name: (m.confidence - (np.array(m.answers) == truths)) ** 2 for name, m in methods.items()}
    maps = [name for name in costs if name in ("label probability", "temperature", "isotonic")]
    best = min(maps, key=lambda name: float(costs[name].mean()))
    gap, draw = costs[STATED] - costs[best], np.random.default_rng(0)
    means = [gap[draw.integers(0, gap.size, gap.size)].mean() for _ in range(REPLICATES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"Stated above the best map ({best}), Brier: {gap.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def by_ambiguity(asked: Asked, method: Method) -> str:
    """Accuracy and mean confidence by the share of the raters' favourite."""
    votes = asked.counts("votes")
    favourite, right = votes.max(1) / votes.sum(1), np.array(method.answers) == np.array(asked.truths)
    lines = ["| share of the favourite | n | accuracy | mean confidence |", "| --- | --- | --- | --- |"]
    for low, high in ((0.8, 1.01), (0.5, 0.8), (0.0, 0.5)):
        there = (favourite >= low) & (favourite < high)
        if there.any():
            figures = f"{there.sum()} | {right[there].mean():.3f} | {method.confidence[there].mean():.3f}"
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
    parser.add_argument("rows", type=Path, help="what `real read` wrote")
    parser.add_argument("--fresh", type=Path, help="the same of rows to fit maps on")
    parser.add_argument("--figure", type=Path, help="SVG file of reliabilities to write")
    chosen = parser.parse_args()
    asked = read(chosen.rows)
    methods = methods_of(asked, read(chosen.fresh) if chosen.fresh else None)
    cards = cards_of(asked, methods)
    first = next(iter(methods))
    print(f"n = {len(asked.rows)}\n\n{table(methods, cards, SHOWN)}\n\n{table(methods, cards, DISTRIBUTION)}\n")
    print(f"{by_ambiguity(asked, methods[first])}\n")
    if STATED in methods:
        print(above_best_map(asked, methods))
    if chosen.figure is not None:
        draw(cards, [name for name in methods if name != PEOPLE][:3], chosen.figure)


if __name__ == "__main__":
    main()
