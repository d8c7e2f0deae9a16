"""Three ways to know which faces raters disputed, from rows of `real read`: the entropy of the model's distribution,
that of the mean over several seeds, and ridge regression on distribution and hidden state.

The regression learns the share of pairs of raters that differ, from the votes of fresh rows; its penalty is chosen
there by cross-validation over faces, and its gain over an isotonic map of 1 - sum p² is measured there too.

    python -m eval.benchmarks.disagreement out/pipeline-*/rows/2-test.jsonl --fresh out/pipeline-*/rows/2-fresh.jsonl
"""

from __future__ import annotations

import argparse
import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import entropy, spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emocaliber.calibration.maps import fit_isotonic

Floats = npt.NDArray[np.float64]
PENALTIES = np.logspace(0, 5, 11)
FOLDS = KFold(5, shuffle=True, random_state=0)
REPLICATES = 2000


@dataclass(frozen=True)
class Faces:
    """Rows with votes of two raters or more: beliefs and votes [n, labels], hidden states [n, width]."""

    beliefs: Floats
    votes: Floats
    states: Floats

    @property
    def raters_differ(self) -> Floats:
        """The share [n] of pairs of raters that name different labels."""
        n = self.votes.sum(1)
        return 1 - (self.votes * (self.votes - 1)).sum(1) / (n * (n - 1))

    @property
    def own(self) -> Floats:
        """1 - sum p² [n]."""
        return np.asarray(1 - (self.beliefs**2).sum(1), np.float64)

    @property
    def features(self) -> Floats:
        """[n, d]: the logs of the probabilities, by label and sorted, 1 - sum p², and the hidden state."""
        logs = np.log(np.clip(self.beliefs, 1e-6, 1))
        return np.column_stack([logs, np.sort(logs, axis=1), self.own, self.states])


def read(path: Path) -> Faces:
    """The rows of a file that two raters or more have voted on."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in rows if sum((row["votes"] or {}).values()) > 1]
    votes = np.array([[row["votes"].get(label, 0) for label in row["cands"]] for row in rows], np.float64)
    states = [np.frombuffer(base64.b64decode(row["hidden"]), "<f2").astype(float) for row in rows]
    return Faces(np.array([row["p"] for row in rows]), votes, np.array(states))


def learner() -> Any:
    """Ridge regression on standardised features."""
    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))


def gain(fresh: Faces) -> tuple[float, float]:
    """By how much the regression's squared error is below the isotonic map's on held-out rows, and its standard
    error."""
    truth, own = fresh.raters_differ, np.empty(len(fresh.votes))
    for fitting, held in FOLDS.split(own):
        own[held] = fit_isotonic(fresh.own[fitting], truth[fitting])(fresh.own[held])
    learned = cross_val_predict(learner(), fresh.features, truth, cv=FOLDS)
    each = (own - truth) ** 2 - (learned - truth) ** 2
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def correlation(values: Floats, votes: Floats) -> str:
    """Spearman's correlation with the entropy of the votes, and its 95 % bootstrap interval over faces."""
    truth, draw = entropy(votes, axis=1), np.random.default_rng(0)
    draws = [draw.integers(0, len(values), len(values)) for _ in range(REPLICATES)]
    low, high = np.quantile([spearmanr(values[own], truth[own])[0] for own in draws], [0.025, 0.975])
    return f"{spearmanr(values, truth)[0]:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print a table: a line a model, and one for all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+", help="files of `real read`, a seed each, of the same faces")
    parser.add_argument("--fresh", type=Path, nargs="+", required=True, help="each seed's fresh rows, in that order")
    chosen = parser.parse_args()
    print("| model | entropy of the distribution | learned from votes | gain of learning on fresh rows |")
    print("| --- | --- | --- | --- |")
    everyone, learned = [], []
    for path, fresh_path in zip(chosen.rows, chosen.fresh, strict=True):
        test, fresh = read(path), read(fresh_path)
        everyone.append(test)
        learned.append(learner().fit(fresh.features, fresh.raters_differ).predict(test.features))
        better, error = gain(fresh)
        print(f"| {path} | {correlation(entropy(test.beliefs, axis=1), test.votes)} | "
              f"{correlation(learned[-1], test.votes)} | {better:+.4f} ± {error:.4f} |", flush=True)  # fmt: skip
    mean = np.mean([test.beliefs for test in everyone], axis=0)
    both = correlation(entropy(mean, axis=1), everyone[0].votes), correlation(np.mean(learned, axis=0), test.votes)
    print(f"| mean of {len(everyone)} | {both[0]} | {both[1]} | n = {len(mean)} |")


if __name__ == "__main__":
    main()
