"""Accuracy and confidence under corruption of the digits' views and of images, level by level.

Nothing is trained: only test data are corrupted. With --run, the folder of a run on which `emocaliber compare` has
finished, images are corrupted as well, for the run's baselines and its language model. Writes a table to --out, and
curves next to it as NAME-views.svg and NAME-pictures.svg.

    python eval/benchmarks/baselines_corruption.py ../shared/data/multiview/handwritten_6views.npz \
        --run out/demo --out eval/results/baselines-corruption.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from baselines_corruption_curves import METRICS, Point, draw

from emocaliber.baselines.estimator import Estimator
from emocaliber.baselines.experiment import ESTIMATOR, NETWORKS, BaselineRecipe, fit, predictions
from emocaliber.baselines.features import FeatureExtractor, rows_of
from emocaliber.baselines.view_files import Rows, ViewSet, read_views
from emocaliber.baselines.views import Views
from emocaliber.core.predictions import Prediction, Source, read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.data.corruption import IMAGE_CORRUPTIONS, corrupted_sample
from emocaliber.data.embedded import load
from emocaliber.evaluation import classification
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.counts import Counts, count_rows
from emocaliber.evaluation.discrimination import auroc
from emocaliber.evaluation.trusted import best_f1_threshold, trust_all_f1, trusted_at
from emocaliber.generation import readouts
from emocaliber.generation.respond import respond
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import embedded_base
from emocaliber.runs.compare import BASELINES, COMPARED, QUESTIONS
from eval.worlds.corrupted_views import (
    VIEW_CORRUPTIONS,
    ViewCorruption,
    conflicting,
    noisy,
    without,
)

LEVELS = {"noise": (0.5, 1.0, 2.0, 4.0), "missing": (0.25, 0.5, 0.75, 1.0), "conflict": (0.25, 0.5, 0.75, 1.0)}
IMAGE_LEVELS = (0.05, 0.1, 0.2, 0.4)
PICTURES = 600
TASK, GROUP = "kaomoji", "trained styles"
SAID, LIKELY = "language model, stated", "language model, label probability"
DRAWN_VIEWS = ("softmax", "edl", "tmc", "ecml", "ter", "amber2")
DRAWN_PICTURES = ("softmax", "tmc", "ter", "amber2", SAID, LIKELY)
Floats = npt.NDArray[np.floating]

HEAD = """# Under corruption

{today}, 2 CPU cores, torch {torch}, seed 0. Trained on clean rows; the trusted threshold is that of greatest F1 on
clean held-out rows, the floor trusting everything. ECE: 15 bins. Uncertainty is that of the fused opinion; of the
language model, one minus what it states. Chance alone moves an accuracy of a half by ±.05 (n = 400) or ±.04 (n = 600),
and AUROC by more where there are few errors. Written by `eval/benchmarks/baselines_corruption.py`; what it says:
[baselines-reading.md](baselines-reading.md).
"""
VIEWS = """## Handwritten digits, two of six views corrupted (n = {n:,})

Level: deviations of noise, or the share of rows that lack the views or have those of a row of another label.

![Curves over the level of corruption of views](baselines-corruption-views.svg)
"""
PICTURES_HEAD = """
## Pictures of {task}, {group} (n = {n:,})

Noise of deviation 127 × level, a grey box on that share of the area, or blur of a radius of a quarter of the height ×
level. The language model has one view, so that views missing or in conflict do not apply to it.

![Curves over the level of corruption of pictures](baselines-corruption-pictures.svg)
"""


def point(kind: str, level: float, method: str, rows: Sequence[Prediction], threshold: float, doubt: float) -> Point:
    """One method at one corruption level. A refused row counts as wrong with the worst confidence."""
    table = tallied(rows)
    accuracy = float(classification.accuracy(table))
    values = [
        accuracy,
        float(classification.mean_confidence(table)),
        float(ece(table, bins=15)),
        float(auroc(table)),
        float(trusted_at(table, threshold).f1),
        float(trust_all_f1(accuracy)),
        doubt,
    ]
    return Point(kind, level, method, dict(zip(METRICS, values, strict=True)))


def tallied(rows: Sequence[Prediction]) -> Counts:
    """Confidences, and whether each label was right; rows without either are refusals."""
    answered = [(row.confidence, row.predicted == row.truth) for row in rows if row.confidence is not None]
    stated, right = np.array(answered, dtype=float).T
    return count_rows(stated, right, invalid=len(rows) - len(answered))


def corrupted_views(views: Views, labels: Sequence[str], kind: ViewCorruption, level: float) -> dict[str, Floats]:
    """The first two views, pixel averages and Fourier coefficients, corrupted."""
    names = list(views)[:2]
    if kind == "conflict":
        return conflicting(views, names, labels, level)
    return noisy(views, names, level) if kind == "noise" else without(views, names, level)


def view_points(views: ViewSet) -> Iterator[Point]:
    """A point for each corruption, level (including 0) and method."""
    fitted = {name: fit(BaselineRecipe(network), views)[0] for name, network in NETWORKS.items()}
    test = views.splits["test"]
    for kind in VIEW_CORRUPTIONS:
        for level in (0.0, *LEVELS[kind]):
            views = corrupted_views(test.views, test.labels.tolist(), kind, level)
            changed = Rows(
                {name: values.astype(np.float32) for name, values in views.items()},
                test.labels, test.ids, test.groups, test.clusters, None,
            )  # fmt: skip
            yield from (
                _judged(kind, level, name, estimator, changed, views.task) for name, estimator in fitted.items()
            )
        print(f"views, {kind}: done", flush=True)


def _judged(kind: str, level: float, name: str, estimator: Estimator, rows: Rows, task: str) -> Point:
    assert estimator.trusted_threshold is not None
    doubt = float(estimator.predict_opinion(rows.views).uncertainty.mean())
    return point(kind, level, name, predictions(estimator, rows, task, name), estimator.trusted_threshold, doubt)


def picture_points(run: Path) -> Iterator[Point]:
    """The same on one group's pictures, with the language model's stated confidence and label probability."""
    samples = [sample for sample in load(TASK, "test") if sample.group == GROUP]
    samples = [samples[i] for i in np.random.default_rng(0).permutation(len(samples))[:PICTURES]]
    extractor = FeatureExtractor(embedded_base(), QUESTIONS[TASK])
    fitted = {name: Estimator.load(run / BASELINES / name / ESTIMATOR / TASK) for name in COMPARED}
    engine = TransformersEngine(
        str(embedded_base()), adapter=run / "3-calibrate" / "adapter", batch_size=96, max_new_tokens=12
    )
    trusted = {SAID: _threshold(run, "stated"), LIKELY: _threshold(run, "probability")}
    clean, template = list[Point](), load_template("label-confidence")
    for kind in IMAGE_CORRUPTIONS:
        for level in (0.0, *IMAGE_LEVELS):
            if level or not clean:
                corrupted = [corrupted_sample(sample, kind, level) for sample in samples]
                rows = rows_of(corrupted, samples[0].candidates, extractor.views(corrupted))
                made = [_judged(kind, level, name, estimator, rows, TASK) for name, estimator in fitted.items()]
                answers = zip(corrupted, respond(corrupted, engine, template), strict=True)
                read = [readouts.rows_of(sample, answer, template, method=LIKELY) for sample, answer in answers]
                for name, source in ((SAID, Source.VERBALIZED), (LIKELY, Source.LOGPROB)):
                    readout = [row[source] for row in read]
                    doubt = 1 - float(classification.mean_confidence(tallied(readout)))
                    made.append(point(kind, level, name, readout, trusted[name], doubt))
                clean = clean or made
                print(f"pictures, {kind} {level}: done", flush=True)
            yield from made if level else [Point(kind, 0.0, point.method, point.values) for point in clean]


def _threshold(run: Path, read_out: str) -> float:
    calibration_rows = [
        row for row in read_predictions(run / f"predictions/stage-3/{read_out}.calibrate.jsonl") if row.task == TASK
    ]
    return best_f1_threshold(tallied(calibration_rows).answered_only())


def table(points: Sequence[Point]) -> str:
    """One line per corruption, level and method."""
    lines = ["| corruption | level | method | " + " | ".join(METRICS) + " |", "|" + "---|" * (len(METRICS) + 3)]
    for point in points:
        *judged, doubt = (point.values[metric] for metric in METRICS)
        cells = " | ".join([*(f"{value:.3f}" for value in judged), f"{doubt:.4f}"])
        lines.append(f"| {point.corruption} | {point.level:g} | {point.method} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Train, corrupt, and write tables and curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("digits", type=Path)
    parser.add_argument("--run", type=Path, help="a run's folder that `emocaliber compare` has been through")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    digits = read_views(arguments.digits)
    points = list(view_points(digits))
    draw(points, DRAWN_VIEWS, arguments.out.with_name(f"{arguments.out.stem}-views.svg"))
    parts = [
        HEAD.format(today=date.today(), torch=torch.__version__),
        VIEWS.format(n=len(digits.splits["test"].labels)),
        table(points),
    ]
    if arguments.run:
        points = list(picture_points(arguments.run))
        draw(points, DRAWN_PICTURES, arguments.out.with_name(f"{arguments.out.stem}-pictures.svg"))
        parts += [PICTURES_HEAD.format(task=TASK, group=GROUP, n=PICTURES), table(points)]
    arguments.out.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
