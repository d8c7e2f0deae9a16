"""Two reasons for doubt on FER+: does one follow the raters' disagreement, does the other detect unfamiliar images?

The models are heads on frozen DINOv2 features, trained on votes (photo_probe). The doubt map is fitted on the
calibration faces; all figures are on test faces, corrupted test faces, Emotion6's photographs and drawings. Compared
with single scores for both (1 minus the greatest share; the entropy of the mean) and with the ensemble's mutual
information, by which UAR routes.

    python -m eval.benchmarks.reasons --features out/photo-features --out eval/results/reasons.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from emocaliber.calibration.doubt import DoubtMap, fit_doubt
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction, Reason
from emocaliber.data.corruption import IMAGE_CORRUPTIONS
from eval.benchmarks.photo_features import LEVELS
from eval.benchmarks.photo_probe import features, rows_of

Floats = npt.NDArray[np.float64]
REPLICATES = 200
REJECTED = (0.5, 0.8, 0.95)
"""Shares of foreign pictures that are to be rejected."""
FALSE_ALARMS = 0.05


def entropy(shares: Floats) -> Floats:
    """Entropy in nats over the last axis."""
    return np.asarray(-(shares * np.log(np.clip(shares, 1e-12, 1))).sum(-1))


def interval(statistic: Callable[..., float], *arrays: Floats) -> str:
    """A statistic of rows with its percentile bootstrap interval over rows (arrays are resampled separately if their
    lengths differ)."""
    rng, replicates = np.random.default_rng(0), []
    paired = len({len(array) for array in arrays}) == 1
    for _ in range(REPLICATES):
        rows = [rng.integers(0, len(array), len(array)) for array in arrays]
        replicates.append(
            statistic(*(array[rows[0] if paired else own] for array, own in zip(arrays, rows, strict=True)))
        )
    low, high = np.quantile(replicates, [0.025, 0.975])
    return f"{statistic(*arrays):.3f} [{low:.3f}, {high:.3f}]"


def auroc(inside: Floats, foreign: Floats) -> float:
    """The probability that a foreign picture has the higher score."""
    ordered = np.sort(inside)
    below, through = np.searchsorted(ordered, foreign, "left"), np.searchsorted(ordered, foreign, "right")
    return float((below + through).mean() / 2 / inside.size)


def share_kept(inside: Floats, foreign: Floats, ambiguous: npt.NDArray[np.bool_], rejected: float) -> float:
    """The share of ambiguous pictures below the threshold that rejects a share `rejected` of the foreign ones."""
    return float((inside[ambiguous] < np.quantile(foreign, 1 - rejected)).mean())


class DoubtScores:
    """The scores of a set of pictures, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.probabilities = dict(np.load(folder / "probes" / "ferplus.npz"))
        self.faces = features(folder, "ferplus")
        calibration = self.faces["split"] == "calibrate"
        self.rows = all_rows(self.faces, self.probabilities["ferplus"].mean(0), self.faces["labels"])
        fit = [row for row, inside in zip(self.rows, calibration, strict=True) if inside]
        tokens = self.faces["tokens"].astype(np.float64)
        train = tokens[self.faces["split"] == "train"]
        self.map: DoubtMap
        self.map, _ = fit_doubt(fit, [], train, tokens[calibration], false_alarms=FALSE_ALARMS)

    def scores(self, name: str) -> dict[str, Floats]:
        """Each score of the test faces, or of another set of pictures."""
        stored = features(self.folder, name)
        inside = stored["split"] == "test" if name == "ferplus" else np.ones(len(stored["ids"]), bool)
        head_shares = self.probabilities[name][:, inside]
        assert self.map.familiar is not None
        distance = self.map.familiar.distance(stored["tokens"][inside].astype(np.float64))
        rows = all_rows(stored, self.probabilities[name].mean(0), self.faces["labels"])
        people = self.map.people_differ([row for row, own in zip(rows, inside, strict=True) if own])
        mean = head_shares.mean(0)
        return {
            "doubt_unfamiliar (distance)": distance,
            "mutual information of 5 heads": entropy(mean) - entropy(head_shares).mean(0),
            "entropy of the mean (single score)": entropy(mean),
            "1 - greatest share (single score)": 1 - mean.max(1),
            "doubt_people": people,
            "mean entropy of 5 heads (aleatoric)": entropy(head_shares).mean(0),
            "entropy of one head": entropy(head_shares[0]),
        }

    def reasons(self, name: str) -> Mapping[Reason | None, float]:
        """The share of test faces, or of another set of pictures, by reason."""
        stored = features(self.folder, name)
        inside = stored["split"] == "test" if name == "ferplus" else np.ones(len(stored["ids"]), bool)
        rows = all_rows(stored, self.probabilities[name].mean(0), self.faces["labels"])
        doubts = self.map.apply(rows, stored["tokens"].astype(np.float64))
        reasons = [row.reason for row, own in zip(doubts, inside, strict=True) if own]
        return {reason: reasons.count(reason) / len(reasons) for reason in Reason}


def all_rows(stored: dict[str, npt.NDArray[Any]], shares: Floats, labels: npt.NDArray[Any]) -> list[Prediction]:
    """One row per picture, including those without a plurality label; with votes for these labels, or placeholders that
    are used for neither fitting nor scoring."""
    alike = np.array_equal(stored["labels"], labels) and stored["votes"].sum() > 0
    votes = stored["votes"] if alike else np.ones(shares.shape, np.int64)
    return rows_of(stored | {"label": np.full(len(shares), "-"), "labels": labels, "votes": votes}, shares, "", None)


def upper_limits(faces: dict[str, npt.NDArray[Any]]) -> str:
    """Upper limits set by features and raters: ridge regression of the raters' entropy (penalty chosen on the
    calibration faces), and one half of each panel against the other, both on test faces."""
    train, fresh, test = (faces["split"] == split for split in ("train", "calibrate", "test"))
    inputs = np.hstack([faces["probe"], faces["layers"].reshape(len(faces["ids"]), -1)])
    inputs = (inputs - inputs[train].mean(0)) / (inputs[train].std(0) + 1e-6)
    votes = faces["votes"]
    raters = entropy(votes / votes.sum(1, keepdims=True))
    predictions = [Ridge(penalty).fit(inputs[train], raters[train]).predict(inputs) for penalty in (1e3, 3e3, 1e4, 3e4)]
    best = max(predictions, key=lambda own: float(spearmanr(own[fresh], raters[fresh])[0]))
    random = np.random.default_rng(0)
    halves = np.array([random.multivariate_hypergeometric(own, own.sum() // 2) for own in votes[test]])
    half_entropies = [entropy(own / np.maximum(own.sum(1, keepdims=True), 1)) for own in (halves, votes[test] - halves)]
    correlation = float(spearmanr(*half_entropies)[0])
    limit = (2 * correlation / (1 + correlation)) ** 0.5
    ridge = float(spearmanr(best[test], raters[test])[0])
    return (
        f"Ridge regression: {ridge:.3f}. Half panels: {correlation:.3f}, so that a model can reach at most {limit:.2f}."
    )


def main() -> None:
    """Compute and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    scores = DoubtScores(arguments.features)
    faces, inside = scores.faces, scores.scores("ferplus")
    votes = faces["votes"][faces["split"] == "test"]
    raters = entropy(votes / votes.sum(1, keepdims=True))
    ambiguous = votes.max(1) * 2 <= votes.sum(1)
    corrupted = [f"ferplus-{kind}-{level}" for kind in IMAGE_CORRUPTIONS for level in LEVELS]
    foreign = [*corrupted, "emotion6", "kaomoji", "emoji"]
    foreign_scores = {name: scores.scores(name) for name in foreign}
    lines = [f"{len(votes):,} test faces, {int(ambiguous.sum())} of them without a majority.", "",
             "| score | Spearman with raters' entropy |", "|---|---|"]  # fmt: skip
    lines += [
        f"| {name} | {interval(lambda a, b: float(spearmanr(a, b)[0]), own, raters)} |" for name, own in inside.items()
    ]
    routes = list(inside)[:4]
    lines += ["", f"| foreign pictures | {' | '.join(routes)} |", "|---" * (len(routes) + 1) + "|"]
    for name in foreign:
        cells = [interval(auroc, inside[route], foreign_scores[name][route]) for route in routes]
        lines.append(f"| {name} (n = {len(foreign_scores[name][routes[0]])}) | {' | '.join(cells)} |")
    hardest = [f"ferplus-{kind}-{LEVELS[-1]}" for kind in IMAGE_CORRUPTIONS]
    means = [
        f"{np.mean([auroc(inside[route], foreign_scores[name][route]) for name in hardest]):.3f}" for route in routes
    ]
    lines += [f"| mean of the three corruptions at {LEVELS[-1]} | {' | '.join(means)} |", ""]
    lines += ["| rejected of which foreign | " + " | ".join(routes) + " | ratio |", "|---" * (len(routes) + 2) + "|"]
    mildest = [f"ferplus-{kind}-{LEVELS[0]}" for kind in IMAGE_CORRUPTIONS]
    sets = {"corruptions at 0.6": hardest, "corruptions at 0.2": mildest, "other pictures": foreign[-3:]}
    for kind, names in sets.items():
        pooled = {route: np.concatenate([foreign_scores[name][route] for name in names]) for route in routes}
        for share in REJECTED:
            values = [share_kept(inside[route], pooled[route], ambiguous, share) for route in routes]
            best = max(values[2:])
            ratio = f"{values[0] / best:.1f}, {values[1] / best:.1f}" if best else "–"
            lines.append(f"| {share:g} of {kind} | {' | '.join(f'{v:.3f}' for v in values)} | {ratio} |")
    lines += [
        "",
        f"| pictures, at {FALSE_ALARMS:g} false alarms | clear | ambiguous | unfamiliar |",
        "|---|---|---|---|",
    ]
    for name in ("ferplus", *foreign):
        shares = scores.reasons(name)
        lines.append(f"| {name} | " + " | ".join(f"{shares[reason]:.3f}" for reason in Reason) + " |")
    lines += ["", upper_limits(faces)]
    write_atomically(arguments.out, ["\n".join(lines).encode(), b"\n"])
    print("\n".join(lines))


if __name__ == "__main__":
    main()
