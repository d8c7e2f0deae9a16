"""What corruption does to accuracy and confidence, level by level: of the digits' views, and of pictures.

Not a training: corruption comes at test time alone. With --run and --views pictures are corrupted too, for the
baselines and for the language model of a finished `emocaliber run` alike.

    python eval/benchmarks/baselines_corruption.py ../shared/data/multiview/handwritten_6views.npz \
        --run out/demo --views out/baselines/features --out eval/results/baselines-corruption.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from emocaliber.backbones.tiny import embedded_base
from emocaliber.baselines.corruption import (
    IMAGE_CORRUPTIONS,
    VIEW_CORRUPTIONS,
    ViewCorruption,
    conflicting,
    corrupted_sample,
    noisy,
    without,
)
from emocaliber.baselines.estimator import Estimator
from emocaliber.baselines.experiment import fit
from emocaliber.baselines.features import FeatureExtractor, rows_of
from emocaliber.baselines.features_command import QUESTIONS
from emocaliber.baselines.recipe import NETWORKS, BaselineRecipe
from emocaliber.baselines.rows import predictions
from emocaliber.baselines.view_files import Rows, ViewSet, read_views
from emocaliber.baselines.views import Views
from emocaliber.datasets.embedded import load
from emocaliber.evaluation import proper_scores
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.discrimination import auroc
from emocaliber.evaluation.tally import Tally, tally
from emocaliber.evaluation.trusted import best_f1_threshold, floor_f1, trusted_at
from emocaliber.generation.predict import predict
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.prediction_files import read_predictions
from emocaliber.predictions import Prediction
from emocaliber.prompting import load_template

LEVELS = {"noise": (0.0, 1.0, 2.0), "missing": (0.5, 1.0), "conflict": (0.5, 1.0)}
IMAGE_LEVELS = (0.1, 0.2, 0.4)
PICTURES = 400
TASK, GROUP = "kaomoji", "trained styles"
SHOWN = ("softmax", "edl", "tmc", "ter", "amber2")
COLUMNS = "| corruption | level | method | accuracy | mean confidence | ECE | AUROC | trusted F1 | floor |"
Floats = npt.NDArray[np.floating]

HEAD = """# Under corruption

{today}, 2 CPU cores, torch {torch}, seed 0. Trained on clean rows; the trusted threshold is that of greatest F1 on
clean held-out rows, the floor trusting everything. ECE: 15 bins. Written by `eval/benchmarks/baselines_corruption.py`.
"""


def figures(rows: Sequence[Prediction], threshold: float) -> str:
    """The cells of one method at one level. A refused row counts as wrong with the worst confidence."""
    found = tallied(rows)
    accuracy, mean = proper_scores.accuracy(found), proper_scores.mean_confidence(found)
    cells = [accuracy, mean, ece(found, bins=15), auroc(found), trusted_at(found, threshold).f1, floor_f1(accuracy)]
    return " | ".join(f"{value:.3f}" for value in cells)


def tallied(rows: Sequence[Prediction]) -> Tally:
    """Confidences and whether the label was right; rows without either are refused."""
    answered = [(row.confidence, row.predicted == row.truth) for row in rows if row.confidence is not None]
    stated, right = np.array(answered, dtype=float).T
    return tally(stated, right, refused=len(rows) - len(answered))


def corrupted_views(views: Views, labels: Sequence[str], kind: ViewCorruption, level: float) -> dict[str, Floats]:
    """The first two views, pixel averages and Fourier coefficients, corrupted."""
    names = list(views)[:2]
    if kind == "conflict":
        return conflicting(views, names, labels, level)
    return noisy(views, names, level) if kind == "noise" else without(views, names, level)


def digit_lines(found: ViewSet) -> Iterator[str]:
    """A line a corruption, level and method, with the mean uncertainty at its end."""
    fitted = {name: fit(BaselineRecipe(network), found)[0] for name, network in NETWORKS.items()}
    test = found.splits["test"]
    for kind in VIEW_CORRUPTIONS:
        for level in LEVELS[kind]:
            views = corrupted_views(test.views, test.labels.tolist(), kind, level)
            changed = Rows(
                {name: values.astype(np.float32) for name, values in views.items()},
                test.labels, test.ids, test.groups, test.clusters, None,
            )  # fmt: skip
            for name, estimator in fitted.items():
                cells = figures(predictions(estimator, changed, found.task, name), _threshold(estimator))
                doubt = float(estimator.predict_opinion(changed.views).uncertainty.mean())
                yield f"| {kind} | {level} | {name} | {cells} | {doubt:.4f} |"


def _threshold(estimator: Estimator) -> float:
    assert estimator.trusted_threshold is not None
    return estimator.trusted_threshold


def picture_lines(run: Path, views: Path) -> Iterator[str]:
    """A line a corruption, level and method, on pictures of one group."""
    samples = [sample for sample in load(TASK, "test") if sample.group == GROUP]
    samples = [samples[i] for i in np.random.default_rng(0).permutation(len(samples))[:PICTURES]]
    found = read_views(views / f"{TASK}.npz")
    extractor = FeatureExtractor(embedded_base(), QUESTIONS[TASK])
    fitted = {name: fit(BaselineRecipe(NETWORKS[name]), found)[0] for name in SHOWN}
    engine = TransformersEngine(
        str(embedded_base()), adapter=run / "3-calibrate" / "adapter", batch_size=96, max_new_tokens=12
    )
    held = [row for row in read_predictions(run / "predictions/stage-3/stated.calibrate.jsonl") if row.task == TASK]
    trusted = best_f1_threshold(tallied(held).answered_only())
    levels = [(kind, level) for kind in IMAGE_CORRUPTIONS for level in IMAGE_LEVELS]
    for kind, level in [(IMAGE_CORRUPTIONS[0], 0.0), *levels]:
        seen = [corrupted_sample(sample, kind, level) for sample in samples]
        rows = rows_of(seen, found.classes, extractor.views(seen))
        made = {name: predictions(estimator, rows, TASK, name) for name, estimator in fitted.items()}
        stated = predict(seen, engine, load_template("label-confidence"), method="language model").verbalized
        print(f"{kind} {level}: done", flush=True)
        for name, estimator in fitted.items():
            yield f"| {kind} | {level} | {name} | {figures(made[name], _threshold(estimator))} |"
        yield f"| {kind} | {level} | language model, stated | {figures(stated, trusted)} |"


def main() -> None:
    """Train, corrupt, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("digits", type=Path)
    parser.add_argument("--run", type=Path, help="the folder of a finished `emocaliber run recipes/tiny`")
    parser.add_argument("--views", type=Path, help="the folder that `emocaliber features` wrote")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = [
        HEAD.format(today=date.today(), torch=torch.__version__),
        "## Handwritten digits, two of six views corrupted (n = 400)\n\nLevel: deviations of noise, share of rows.\n",
        f"{COLUMNS} mean uncertainty |\n|" + "---|" * 10,
        *digit_lines(read_views(arguments.digits)),
    ]
    if arguments.run and arguments.views:
        parts += [
            f"\n## Pictures of {TASK}, {GROUP} (n = {PICTURES})\n\nNoise of deviation 127 × level, a grey box on that"
            " share of the area, or blur of a radius of a quarter of the height × level.\n",
            f"{COLUMNS}\n|" + "---|" * 9,
            *picture_lines(arguments.run, arguments.views),
        ]
    arguments.out.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
