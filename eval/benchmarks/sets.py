"""Prediction sets on five suites: coverage against the nominal .9, by group and by rater agreement, and size against
MAPIE's.

Models are cheap but real: softmax regression on grey pixels (kaomoji, emoji), heads on frozen DINOv2 features (FER+,
Emotion6; see photo_probe), and for schematic faces their true probabilities, sharpened. Calibration and test rows are
pooled and split SPLITS times by cluster; the tables show the mean over splits with twice its standard error, and for
the data's own split the range that chance alone allows.

    pip install --target out/peers --no-deps mapie
    PYTHONPATH=.:out/peers python -m eval.benchmarks.sets --features out/photo-features --out eval/results/sets.md
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom
from sklearn.linear_model import LogisticRegression

from emocaliber.calibration.conformal import Score
from emocaliber.calibration.set_fitting import fit_sets
from emocaliber.core.files import write_atomically
from emocaliber.core.images import load_image
from emocaliber.core.predictions import Held, Prediction, Source, State
from emocaliber.data.embedded import load
from emocaliber.evaluation.distributional import strata
from eval.benchmarks.photo_probe import features, rows_of
from eval.worlds.faces import LABELS, SHIFTS
from eval.worlds.faces_drawing import PARTS

Floats = npt.NDArray[np.float64]
PROMISE, SPLITS, SIDE = 0.9, 60, 20
MOST = 3000
"""Rows of a suite for the splits."""


def drawing_rows(task: str) -> list[Prediction]:
    """Rows of embedded drawings from softmax regression on grey pixels, calibration and test."""
    samples = load(task)
    pixels = np.stack(
        [np.asarray(load_image(s.image).convert("L").resize((SIDE, SIDE)), np.float64).ravel() / 255 for s in samples]
    )
    train = np.array([s.split == "train" and s.label is not None for s in samples])
    names = np.array([s.label or "" for s in samples])
    model = LogisticRegression(C=0.1, max_iter=300).fit(pixels[train], names[train])
    shares = model.predict_proba(pixels)
    rows = []
    for sample, own in zip(samples, shares, strict=True):
        if sample.split in ("calibrate", "test") and sample.label in model.classes_:
            rows.append(_row(sample.id, task, sample.group, sample.cluster, sample.label, model.classes_, own,
                             sample.votes, sample.split))  # fmt: skip
    return rows


def schematic_face_rows(sharper: float = 2.0, number: int = 1500) -> list[Prediction]:
    """Rows of schematic faces without their pictures: the true probabilities, sharpened to resemble an overconfident
    model."""
    random, rows = np.random.default_rng(0), []
    for group, world in SHIFTS.items():
        drawn = random.choice(len(LABELS), size=number, p=world.shares)
        truth = world.posterior(world.draw_features(drawn, random), next(iter(PARTS)) if world.occlusion else None)
        for n, p in enumerate(truth):
            stated = p**sharper / (p**sharper).sum()
            votes = dict(zip(LABELS, random.multinomial(world.raters, p).tolist(), strict=True))
            label = LABELS[random.choice(len(LABELS), p=p)]
            split = "calibrate" if n % 2 else "test"
            rows.append(_row(f"{group}-{n}", "faces", group, "", label, LABELS, stated, votes, split))
    return rows


def _row(
    name: str, task: str, group: str, cluster: str, truth: str | None, labels: Sequence[str], shares: Floats,
    votes: dict[str, int] | None, split: str,
) -> Prediction:  # fmt: skip
    named = {str(label): float(min(share, 1)) for label, share in zip(labels, shares, strict=True)}
    top = max(named, key=named.__getitem__)
    return Prediction(f"{split}/{name}", task, group, cluster, truth, top, named[top], State.OK, Source.LOGPROB,
                      "model", votes, named)  # fmt: skip


def photograph_rows(folder: Path, data: str) -> list[Prediction]:
    """Rows of a photograph data set from the mean of its heads."""
    stored, shares = features(folder, data), np.load(folder / "probes" / f"{data}.npz")[data].mean(0)
    rows = []
    for split in ("calibrate", "test"):
        for row in rows_of(stored, shares, data, split):
            rows.append(_row(row.id, data, "", "", row.truth, list(row.distribution or ()),
                             np.array(list((row.distribution or {}).values())), row.votes, split))  # fmt: skip
    return rows


def sets_of(fit: Sequence[Prediction], test: Sequence[Prediction], score: Score, holds: Held, *, by_group: bool) -> Any:
    """The test rows with sets fitted on other rows."""
    sets, _ = fit_sets(fit, [], coverage=PROMISE, score=score, holds=holds, per="group" if by_group else "task")
    return sets.apply(test)


def coverage(rows: Sequence[Prediction], holds: Held) -> Floats:
    """For each row [n], whether its set contains the label, or the share of the votes that it contains."""
    if holds is Held.LABEL:
        return np.array([float(row.truth in (row.prediction_set or ())) for row in rows])
    values = []
    for row in rows:
        votes = row.votes or {}
        inside = sum(votes.get(label, 0) for label in row.prediction_set or ())
        values.append(inside / sum(votes.values()))
    return np.array(values)


def sizes(rows: Sequence[Prediction]) -> Floats:
    """The number of labels in each set [n]."""
    return np.array([float(len(row.prediction_set or ())) for row in rows])


def split_clusters(rows: Sequence[Prediction], seed: int) -> tuple[list[Prediction], list[Prediction]]:
    """Half of the clusters for calibration, the rows of the others for the test."""
    units = sorted({row.cluster or row.id for row in rows})
    fitting_units = {units[n] for n in np.random.default_rng(seed).permutation(len(units))[: len(units) // 2]}
    return (
        [row for row in rows if (row.cluster or row.id) in fitting_units],
        [row for row in rows if (row.cluster or row.id) not in fitting_units],
    )


def mapie_scores(fit: Sequence[Prediction], test: Sequence[Prediction], score: Score) -> tuple[float, float]:
    """Coverage and mean size of MAPIE's sets of the same probabilities."""
    from mapie.classification import SplitConformalClassifier

    labels = list(fit[0].distribution or ())
    place = {label: n for n, label in enumerate(labels)}

    class Precomputed:
        """A model whose inputs are its probabilities."""

        classes_ = np.arange(len(labels))
        is_fitted_ = True

        def fit(self, x: Floats, y: Floats) -> Precomputed:
            return self

        def predict(self, x: Floats) -> Floats:
            return np.asarray(x.argmax(1))

        def predict_proba(self, x: Floats) -> Floats:
            return x

        def __sklearn_is_fitted__(self) -> bool:
            return True

    def shares(rows: Sequence[Prediction]) -> Floats:
        probabilities = np.array([[(row.distribution or {})[label] for label in labels] for row in rows])
        return np.asarray(probabilities / probabilities.sum(1, keepdims=True))

    def answers(rows: Sequence[Prediction]) -> npt.NDArray[np.int64]:
        return np.array([place[str(row.truth)] for row in rows])

    from sklearn.base import BaseEstimator, ClassifierMixin

    model = type("Model", (Precomputed, ClassifierMixin, BaseEstimator), {})()
    conformal = SplitConformalClassifier(model, PROMISE, score, prefit=True, random_state=0)
    conformal.conformalize(shares(fit), answers(fit))
    options = {} if score == "lac" else {"include_last_label": "randomized"}
    _, predicted = conformal.predict_set(shares(test), conformity_score_params=options)
    sets = predicted[:, :, 0]
    return float(sets[np.arange(len(test)), answers(test)].mean()), float(sets.sum(1).mean())


def suite_lines(name: str, rows: list[Prediction]) -> Iterator[str]:
    """The table lines of one suite: every score, and sets for drawn raters if there are votes."""
    sample = rows
    if len(rows) > MOST:
        sample = [rows[n] for n in sorted(np.random.default_rng(1).permutation(len(rows))[:MOST].tolist())]
    fit, test = ([row for row in rows if row.id.startswith(split)] for split in ("calibrate/", "test/"))
    accuracy = np.mean([row.predicted == row.truth for row in test])
    kinds = [(score, Held.LABEL) for score in get_args(Score)]
    kinds += [("lac", Held.RATER), ("aps", Held.RATER)] if all(row.votes for row in rows) else []
    units = len({row.cluster or row.id for row in fit})
    for score, holds in kinds:
        over_splits = []
        for seed in range(SPLITS):
            fitting, scoring = split_clusters(sample, seed)
            predicted = sets_of(fitting, scoring, score, holds, by_group=False)
            over_splits.append((coverage(predicted, holds).mean(), sizes(predicted).mean()))
        mean, error = (
            np.mean([c for c, _ in over_splits]),
            2 * np.std([c for c, _ in over_splits], ddof=1) / SPLITS**0.5,
        )
        predicted = sets_of(fit, test, score, holds, by_group=False)
        peer = "" if holds is Held.RATER else "{:.3f}, {:.2f}".format(*mapie_scores(fit, test, score))
        own_coverage, own_sizes = coverage(predicted, holds).mean(), sizes(predicted)
        yield (
            f"| {name} ({accuracy:.3f}; {units:,} units, {len(test):,} rows) | {score} | {holds} |"
            f" {mean:.3f} ± {error:.3f}, {np.mean([s for _, s in over_splits]):.2f} |"
            f" {own_coverage:.3f} {chance_range(units, test)} |"
            f" {own_sizes.mean():.2f}, {(own_sizes == 1).mean():.2f} | {peer} |"
        )


def chance_range(units: int, test: Sequence[Prediction]) -> str:
    """The 95 % range of the coverage of one split: beta-binomial, with clusters taken as rows."""
    rows, place = len({row.cluster or row.id for row in test}), int(np.ceil(round((units + 1) * PROMISE, 9)))
    low, high = betabinom.ppf([0.025, 0.975], rows, place, units + 1 - place) / rows
    return f"[{low:.3f}, {high:.3f}]"


def group_lines(name: str, rows: list[Prediction]) -> Iterator[str]:
    """The coverage of every group with one threshold per task, and with one per group, over splits; and the latter on
    the data's own split, with the range that chance allows."""
    groups = sorted({row.group for row in rows})
    fitting_rows, test_rows = ([row for row in rows if row.id.startswith(split)] for split in ("calibrate/", "test/"))
    own_split = sets_of(fitting_rows, test_rows, "lac", Held.LABEL, by_group=True)
    for group in groups:
        cells = []
        for by_group in (False, True):
            coverages, mean_sizes = [], []
            for seed in range(SPLITS):
                fit, test = split_clusters(rows, seed)
                predicted = [r for r in sets_of(fit, test, "lac", Held.LABEL, by_group=by_group) if r.group == group]
                coverages.append(coverage(predicted, Held.LABEL).mean())
                mean_sizes.append(sizes(predicted).mean())
            error = 2 * np.std(coverages, ddof=1) / SPLITS**0.5
            cells.append(f"{np.mean(coverages):.3f} ± {error:.3f}, {np.mean(mean_sizes):.2f}")
        units = len({row.cluster or row.id for row in rows if row.group == group})
        fitting_units = len({row.cluster or row.id for row in fitting_rows if row.group == group})
        group_rows = [row for row in own_split if row.group == group]
        single = f"{coverage(group_rows, Held.LABEL).mean():.3f} {chance_range(fitting_units, group_rows)}"
        yield f"| {name}, {group} ({units:,} units) | {cells[0]} | {cells[1]} | {single} |"


def stratum_lines(name: str, rows: list[Prediction]) -> Iterator[str]:
    """Coverage and size by agreement of the raters, of sets for the label and for a drawn rater; over splits."""
    for score in ("lac", "aps"):
        for holds in Held:
            by_stratum: dict[str, list[tuple[float, float]]] = {}
            for seed in range(SPLITS):
                fit, test = split_clusters(rows, seed)
                predicted = sets_of(fit, test, score, holds, by_group=False)  # type: ignore[arg-type]
                labels = list(predicted[0].distribution)
                votes = np.array([[(row.votes or {}).get(label, 0) for label in labels] for row in predicted])
                shares, size = coverage(predicted, holds), sizes(predicted)
                for stratum, mask in strata(votes).items():
                    if "entropy" not in stratum:
                        by_stratum.setdefault(stratum, []).append((shares[mask].mean(), size[mask].mean()))
            cells = [
                f"{np.mean([c for c, _ in own]):.3f}, {np.mean([s for _, s in own]):.2f}" if own else "–"
                for own in (by_stratum.get(stratum, []) for stratum in ("unanimous", "majority", "no majority"))
            ]
            yield f"| {name} | {score} | {holds} | {' | '.join(cells)} |"


def main() -> None:
    """Compute and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    suites = {
        "kaomoji": drawing_rows("kaomoji"), "emoji": drawing_rows("emoji"), "schematic faces": schematic_face_rows(),
        "FER+": photograph_rows(arguments.features, "ferplus"),
        "Emotion6": photograph_rows(arguments.features, "emotion6"),
    }  # fmt: skip
    header = (
        "| suite (accuracy; calibration, test) | score | holds | 60 splits: coverage, size | own split: coverage"
        " [chance] | size, share of one label | MAPIE 1.6: coverage, size |"
    )
    lines = [header, "|---" * 7 + "|"]
    for name, rows in suites.items():
        lines += suite_lines(name, rows)
        print("\n".join(lines[-5:]), flush=True)
    columns = (
        "group",
        "one threshold a task: coverage, size",
        "one a group",
        "one a group, own split: coverage [chance]",
    )
    lines += ["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in ("kaomoji", "schematic faces"):
        lines += group_lines(name, suites[name])
    lines += ["", "| suite | score | holds | unanimous: coverage, size | majority | no majority |",
              "|---|---|---|---|---|---|"]  # fmt: skip
    for name in ("FER+", "Emotion6"):
        lines += stratum_lines(name, suites[name])
    write_atomically(arguments.out, ["\n".join(lines).encode(), b"\n"])


if __name__ == "__main__":
    main()
