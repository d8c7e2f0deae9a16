"""Maps fitted to labels and to votes, on Emotion6: agreement ECE of the label probability before and after each map.

The models are heads with one hidden layer on frozen DINOv2 features (photo_features, photo_probe), trained on the
labels or the votes of the train images. Maps are fitted on the calibrate images, and everything is scored on the test
images, without images that have no plurality label. Seeds are pooled; intervals resample images.

    python -m eval.benchmarks.vote_maps --features out/photo-features
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec.structs import replace

from emocaliber.calibration.cross_fitting import cross_validate
from emocaliber.calibration.fit import Kind, fit_recalibrator, kinds_of
from emocaliber.calibration.targets import DESCRIBED, Target
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.reporting.floors import difference_cell
from emocaliber.reporting.tables import metric_title, plain
from eval.benchmarks.photo_probe import Floats, features, rows_of, taught

SEEDS = (0, 1, 2)
KINDS: tuple[Kind, ...] = ("temperature", "isotonic", "matrix")
SHOWN = ("agreement_ece", "agreement_brier", "ece", "brier")
Split = dict[str, list[Prediction]]


def train_and_predict(stored: dict[str, npt.NDArray[Any]], target: Target, seed: int) -> Split:
    """Train a head on this target; its rows for the calibrate and test images. Ids end with the seed, and an image is
    one cluster."""
    train, labels = stored["split"] == "train", [str(label) for label in stored["labels"]]
    inputs = (stored["probe"] - stored["probe"][train].mean(0)) / (stored["probe"][train].std(0) + 1e-6)
    votes: Floats = stored["votes"] / stored["votes"].sum(1, keepdims=True)
    targets = (
        votes if target == "votes" else np.array([[float(own == label) for label in labels] for own in stored["label"]])
    )
    has_target = train & (targets.sum(1) > 0)
    head = taught(inputs[has_target], targets[has_target], seed)
    with torch.no_grad():
        shares = head(torch.from_numpy(inputs)).double().softmax(-1).numpy()
    return {
        split: [
            replace(row, id=f"{row.id}/{seed}", cluster=row.id) for row in rows_of(stored, shares, "Emotion6", split)
        ]
        for split in ("calibrate", "test")
    }


def apply_maps(seeds: Sequence[Split], kind: Kind | None, target: Target) -> tuple[list[Prediction], str]:
    """The test rows of all seeds, each through a map of the distribution fitted on its seed's calibrate rows, and the
    maps' kinds. Without `kind`, the kind with the lowest cross-fitted Brier score is used."""
    rows, kinds = list[Prediction](), list[str]()
    for own in seeds:
        results = [
            cross_validate(own["calibrate"], "distribution", candidate, per_task=False, target=target)
            for candidate in kinds_of("distribution", target) if kind is None
        ]  # fmt: skip
        best_kind = kind or min(results, key=lambda result: result.after).kind
        fitted = fit_recalibrator(own["calibrate"], "distribution", best_kind, per_task=False, target=target)
        rows += fitted.apply(own["test"], "mapped")
        kinds.append(best_kind)
    return rows, ", ".join(dict.fromkeys(kinds))


def table_lines(seeds: Sequence[Split]) -> list[str]:
    """A line for the label probability and for each map, the last with the kind chosen by cross-fitting; with the
    difference in agreement ECE from the same kind of map fitted to labels."""
    plain_rows = [row for own in seeds for row in own["test"]]
    lines = [_line("label probability", "", build_scorecard({"as it is": plain_rows}), "as it is", "")]
    for kind in (*KINDS, None):
        mapped = {target: apply_maps(seeds, kind, target) for target in DESCRIBED}
        card = build_scorecard({target: rows for target, (rows, _) in mapped.items()}, subject="label")
        for target, (_, kinds) in mapped.items():
            name = kind or f"chosen ({kinds})"
            change = difference_cell(card, "votes", "label", "agreement_ece") if target == "votes" else None
            change_text = "" if change is None else f"{change.text} [{change.detail.replace(' to ', ', ')}]"
            lines.append(_line(name, DESCRIBED[target], card, target, change_text))
    return lines


def _line(name: str, target: str, card: Any, method: str, change: str) -> str:
    headline = card.method(method).find("all").headline
    return f"| {name} | {target} | {' | '.join(plain(headline.get(metric)) for metric in SHOWN)} | {change} |"


def main() -> None:
    """Print a table for the heads taught labels, and one for those taught votes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", type=Path, required=True, help="folder of photo_features")
    stored = features(parser.parse_args().features, "emotion6")
    torch.set_num_threads(1)
    for target, name in DESCRIBED.items():
        seeds = [train_and_predict(stored, target, seed) for seed in SEEDS]
        counts = ", ".join(f"{split} {len(rows)}" for split, rows in seeds[0].items())
        print(f"\nHeads taught {name} ({counts} pictures, {len(SEEDS)} seeds)\n")
        print(f"| map | fitted to | {' | '.join(map(metric_title, SHOWN))} | agreement ECE: votes − labels |")
        print("|" + " --- |" * (len(SHOWN) + 3))
        print("\n".join(table_lines(seeds)), flush=True)


if __name__ == "__main__":
    main()
