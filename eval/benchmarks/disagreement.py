"""Three predictors of the faces that raters disagree about, from rows of `real read`: the entropy of the model's
distribution, the entropy of the mean distribution over several seeds, and ridge regression on the distribution and the
hidden state.

The regression is fitted to the share of pairs of raters that differ, on fresh rows; its penalty is chosen there by
cross-validation over faces, and its gain over an isotonic map of 1 - sum p² is measured there too.

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
    """The isotonic map's squared error minus the regression's, on held-out rows, and its standard error."""
    truth, isotonic = fresh.raters_differ, np.empty(len(fresh.votes))
    for fitting, held_out in FOLDS.split(isotonic):
        isotonic[held_out] = fit_isotonic(fresh.own[fitting], truth[fitting])(fresh.own[held_out])
    learned = cross_val_predict(learner(), fresh.features, truth, cv=FOLDS)
    gains = (isotonic - truth) ** 2 - (learned - truth) ** 2
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))


def correlation(values: Floats, votes: Floats) -> str:
    """Spearman's correlation with the entropy of the votes, and its 95 % bootstrap interval over faces."""
    truth, rng = entropy(votes, axis=1), np.random.default_rng(0)
    samples = [rng.integers(0, len(values), len(values)) for _ in range(REPLICATES)]
    low, high = np.quantile([spearmanr(values[sample], truth[sample])[0] for sample in samples], [0.025, 0.975])
    return f"{spearmanr(values, truth)[0]:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print a table with a line for each model, and one for all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+", help="files of `real read`, one per seed, of the same faces")
    parser.add_argument("--fresh", type=Path, nargs="+", required=True, help="fresh rows, one file per seed")
    arguments = parser.parse_args()
    print("| model | entropy of the distribution | learned from votes | gain of learning on fresh rows |")
    print("| --- | --- | --- | --- |")
    tests, learned = [], []
    for path, fresh_path in zip(arguments.rows, arguments.fresh, strict=True):
        test, fresh = read(path), read(fresh_path)
        tests.append(test)
        learned.append(learner().fit(fresh.features, fresh.raters_differ).predict(test.features))
        mean_gain, error = gain(fresh)
        print(f"| {path} | {correlation(entropy(test.beliefs, axis=1), test.votes)} | "
              f"{correlation(learned[-1], test.votes)} | {mean_gain:+.4f} ± {error:.4f} |", flush=True)  # fmt: skip
    mean = np.mean([test.beliefs for test in tests], axis=0)
    correlations = correlation(entropy(mean, axis=1), tests[0].votes), correlation(np.mean(learned, axis=0), test.votes)
    print(f"| mean of {len(tests)} | {correlations[0]} | {correlations[1]} | n = {len(mean)} |")


if __name__ == "__main__":
    main()
