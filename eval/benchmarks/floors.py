"""Our post-hoc maps compared with those of probmetrics, MAPIE and netcal: fitted on one half of the rows, scored on the
other.

The maps' properties are tested in tests/calibration. Install MAPIE and probmetrics into a folder of their own:

    pip install --target peers --no-deps probmetrics==1.3.0 MAPIE==1.6.0 pytorch-minimize==0.1.0
    emocaliber predict kaomoji --shard 1/2 --signals blinded,p-true,hidden --out out/asked
    PYTHONPATH=peers python -m eval.benchmarks.floors out/asked/predictions-logprob.jsonl --out eval/results/floors.md

The first section of the page is what agrees with whom; the second what the floors reach, cross-fitted on all rows.
"""

from __future__ import annotations

import argparse
import platform
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from emocaliber.calibration.fit import Kind, fit_recalibrator
from emocaliber.calibration.learners import known_signals, signal_values
from emocaliber.core.predictions import Prediction, read_predictions
from emocaliber.evaluation.floors import Floors, cross_fitted_floors
from emocaliber.reporting.document import Document, Table
from emocaliber.reporting.floors import floors_table
from emocaliber.reporting.pages import render_markdown

Array = np.ndarray
PEERS = ("probmetrics", "mapie", "netcal", "scikit-learn")


def halves(rows: Sequence[Prediction]) -> tuple[list[Prediction], list[Prediction]]:
    """Rows to fit on and rows to compare on; each cluster is in one half."""
    clusters = sorted({row.cluster for row in rows})
    chosen = set(np.random.default_rng(0).permutation(clusters)[: len(clusters) // 2].tolist())
    return [row for row in rows if row.cluster in chosen], [row for row in rows if row.cluster not in chosen]


def shares_of(rows: Sequence[Prediction], labels: Sequence[str]) -> Array:
    """Distributions [n, k]."""
    shares = np.array([[(row.distribution or {})[label] for label in labels] for row in rows])
    return shares / shares.sum(axis=1, keepdims=True)


def top(rows: Sequence[Prediction], labels: Sequence[str], shares: Array) -> Array:
    """The share of each row's predicted label [n]."""
    return shares[np.arange(len(rows)), [labels.index(str(row.predicted)) for row in rows]]


def peers(labels: Sequence[str]) -> list[tuple[str, Kind, Callable[[list[Prediction], list[Prediction]], Array]]]:
    """Name, our kind of map, and a function from fitting rows and held-out rows to the peer's mapped confidences."""
    from mapie._venn_abers import VennAbers
    from netcal.scaling import BetaCalibration, LogisticCalibration, TemperatureScaling
    from probmetrics.calibrators.factory import get_calibrator
    from probmetrics.calibrators.logistic import BinaryLogisticCalibrator, SMSCalibrator

    def values(rows: list[Prediction]) -> tuple[Array, Array]:
        right = np.array([row.predicted == row.truth for row in rows]).astype(int)
        return np.clip(top(rows, labels, shares_of(rows, labels)), 1e-3, 1 - 1e-3), right

    def two(confidence: Array) -> Array:
        return np.column_stack([1 - confidence, confidence])

    def binary(calibrator: object) -> Callable[[list[Prediction], list[Prediction]], Array]:
        def mapped(fitting: list[Prediction], held: list[Prediction]) -> Array:
            (x, y), (new, _) = values(fitting), values(held)
            return calibrator.fit(two(x), y).predict_proba(two(new))[:, 1]  # type: ignore[attr-defined]

        return mapped

    def of_distribution(calibrator: object) -> Callable[[list[Prediction], list[Prediction]], Array]:
        def mapped(fitting: list[Prediction], held: list[Prediction]) -> Array:
            truth = np.array([labels.index(str(row.truth)) for row in fitting])
            calibrator.fit(shares_of(fitting, labels), truth)  # type: ignore[attr-defined]
            predict = getattr(calibrator, "predict_proba", None) or calibrator.transform  # type: ignore[attr-defined]
            return top(held, labels, predict(shares_of(held, labels)))

        return mapped

    def netcal(calibrator: object) -> Callable[[list[Prediction], list[Prediction]], Array]:
        def mapped(fitting: list[Prediction], held: list[Prediction]) -> Array:
            (x, y), (new, _) = values(fitting), values(held)
            return calibrator.fit(x, y).transform(new)  # type: ignore[attr-defined]

        return mapped

    def venn_abers(fitting: list[Prediction], held: list[Prediction]) -> Array:
        (x, y), (new, _) = values(fitting), values(held)
        fitted = VennAbers()
        fitted.fit(two(x), y)
        return fitted.predict_proba(two(new))[0][:, 1]

    def isotonic(fitting: list[Prediction], held: list[Prediction]) -> Array:
        (x, y), (new, _) = values(fitting), values(held)
        return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y).predict(new)

    return [
        ("probmetrics, temperature", "temperature", of_distribution(get_calibrator("temp-scaling"))),
        ("netcal, temperature", "temperature", of_distribution(TemperatureScaling())),
        ("probmetrics, affine (Platt)", "platt", binary(BinaryLogisticCalibrator(type="affine"))),
        ("netcal, logistic (Platt)", "platt", netcal(LogisticCalibration())),
        ("netcal, beta", "beta", netcal(BetaCalibration())),
        ("scikit-learn, isotonic", "isotonic", isotonic),
        ("MAPIE, Venn–Abers", "venn-abers", venn_abers),
        ("probmetrics, structured matrix scaling", "matrix", of_distribution(SMSCalibrator())),
    ]


def agreement(rows: Sequence[Prediction]) -> list[str]:
    """Table lines: each peer's Brier score beside ours on the held-out half, and the largest difference in a row."""
    labels = sorted(rows[0].distribution or {})
    fitting, held = halves(rows)
    right = np.array([row.predicted == row.truth for row in held])
    lines = ["| peer | its Brier score | ours | largest difference of a row | median |", "|---|---|---|---|---|"]
    for name, kind, mapped in peers(labels):
        theirs = np.asarray(mapped(fitting, held), dtype=float).ravel()
        ours = fit_recalibrator(fitting, "distribution", kind, per_task=False).confidences(held)
        gap = np.abs(theirs - ours)
        scores = [float(((values - right) ** 2).mean()) for values in (theirs, ours)]
        lines.append(f"| {name} | {scores[0]:.5f} | {scores[1]:.5f} | {gap.max():.1e} | {np.median(gap):.1e} |")
        print(lines[-1], flush=True)
    return [f"Fitted on {len(fitting):,} rows, compared on {len(held):,} others.\n", *lines]


def boosted(floors: Floors) -> str:
    """The score of gradient boosting on the same signals, without the hidden state."""
    names = sorted(known_signals(floors.rows))
    right = np.array([row.predicted == row.truth for row in floors.rows])
    groups = np.unique([row.cluster for row in floors.rows], return_inverse=True)[1]
    learner = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, max_leaf_nodes=8, random_state=0)
    parts = GroupKFold(10).split(right, right, groups)
    given = cross_val_predict(learner, signal_values(floors.rows, names), right, cv=list(parts), method="predict_proba")
    brier = float(((given[:, 1] - right) ** 2).mean())
    return (
        f"Gradient boosting (scikit-learn, 100 trees of 8 leaves) of the same numbers, {', '.join(names)}, in place of"
        f" the logistic map: Brier score {brier:.4f}."
    )


def table_of(floors: Floors) -> str:
    """The table of floors as Markdown."""
    table: Table = floors_table(floors, floors.scorecard())
    text, _ = render_markdown(Document("", [table], []))
    return text.strip().removeprefix("#").strip()


def main() -> None:
    """Compare and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", nargs="+", type=Path, help="prediction rows with distributions")
    parser.add_argument("--out", type=Path, help="the page (default: print it)")
    parser.add_argument("--no-peers", action="store_true", help="only the table of floors")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    parts = [f"{platform.processor() or platform.machine()}, {date.today()}; " + versions()]
    for path in arguments.predictions:
        rows = [row for row in read_predictions(path) if row.distribution and row.predicted is not None]
        floors = cross_fitted_floors(rows, on_progress=lambda text: print(text, flush=True))
        parts += [f"## {path.parent.name}/{path.name}: {len(rows):,} rows", table_of(floors), boosted(floors)]
        if not arguments.no_peers:
            parts += ["### Beside other libraries", "\n".join(agreement(rows))]
    page = "\n\n".join(parts) + "\n"
    if arguments.out is None:
        print(page)
    else:
        arguments.out.write_text(page)


def versions() -> str:
    """The versions of the installed peers."""
    return ", ".join(f"{name} {version(name)}" for name in PEERS if find_spec(name.replace("scikit-learn", "sklearn")))


if __name__ == "__main__":
    main()
