"""Every baseline on the vision tower's features of FER+ (the tower of recipes/real), with the same rows and votes.

Views, all from one tower (photo_features): the class token, a 2 x 2 grid of the last layer's patches, and the mean
patch of three layers in between. Each method is taught on the train faces by the raters' favourite (AmbER² and, beside
it, a softmax network by their shares), with early stopping and temperature on the calibrate faces, three seeds. Judged
on the test faces that have a favourite, and on corrupted ones; rows of `real read` (--model NAME=FILE) are judged on
the same faces, as far as they were asked about.

    python -m eval.benchmarks.photo_baselines --features out/photo-features --fer out/ferplus.parquet \\
        --model "stage 2=out/2-test.jsonl"
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec import structs

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.estimator import Estimator
from emocaliber.baselines.experiment import NETWORKS, BaselineRecipe, fit, predictions
from emocaliber.baselines.training import Training
from emocaliber.baselines.view_files import Rows, ViewSet
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.data.corruption import IMAGE_CORRUPTIONS
from emocaliber.data.parquet import read_samples
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.reporting.tables import plain
from eval.benchmarks.photo_features import LEVELS

SEEDS = (0, 1, 2)
MIDDLE = LEVELS[1]
TASK = "FER+"
METHODS = {
    "softmax": NETWORKS["softmax"],
    "softmax, taught the shares": Amber2(expert_weight=0.0, guidance_weight=0.0),
    **{name: network for name, network in NETWORKS.items() if name != "softmax"},
}
SHOWN = {
    "accuracy": "accuracy", "ece": "ECE", "brier": "Brier", "auroc": "AUROC", "agreement_ece": "agreement ECE",
    "second_panel_brier": "second panel: Brier", "entropy_rank_correlation": "Spearman of entropies",
}  # fmt: skip
CLEAN, CORRUPTED = "as they are", f"corrupted at level {MIDDLE}"


def rows_of(stored: Mapping[str, npt.NDArray[Any]], split: str) -> Rows:
    """A split's faces as views, without those that have no plurality label."""
    chosen = (stored["split"] == split) & (stored["label"] != "")
    tokens, ids = stored["tokens"].shape[1], stored["ids"][chosen]
    views = {
        "class token": stored["probe"][chosen, :tokens],
        "grid": stored["probe"][chosen, tokens:],
        "layers": stored["layers"][chosen].reshape(len(ids), -1),
    }
    blank = np.full(len(ids), "")
    return Rows(views, stored["label"][chosen], ids, blank, ids, stored["votes"][chosen].astype(float))


def taught(views: ViewSet, name: str, seed: int) -> Estimator:
    """The method's network, trained on the views."""
    return fit(BaselineRecipe(METHODS[name], Training(seed=seed)), views)[0]


def answers(estimator: Estimator, rows: Rows, second: Mapping[str, dict[str, int]], name: str) -> list[Prediction]:
    """Prediction rows with the second panel's votes; ids end with the seed, but a face stays one cluster."""
    made = predictions(estimator, rows, TASK, name)
    seed = estimator.training.seed
    return [structs.replace(row, id=f"{row.id}/{seed}", second_votes=second.get(row.id)) for row in made]


def model_rows(path: Path, name: str, known: Mapping[str, Prediction]) -> dict[str, list[Prediction]]:
    """The rows that `real read` wrote about faces that the baselines are scored on too: stated confidence, and label
    probability."""
    by_read_out: dict[str, list[Prediction]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if (like := known.get(row["id"])) is None:
            continue
        shares = dict(zip(row["cands"], row["p"], strict=True))
        best = max(shares, key=shares.__getitem__)
        common = structs.replace(
            like, id=f"{row['id']}/0", method=name, state=State.OK, distribution=shares,
            source=Source.LOGPROB, predicted=best, confidence=min(1.0, shares[best]),
        )  # fmt: skip
        by_read_out.setdefault(f"{name}, label probability", []).append(common)
        if "confidence" in row:
            with_stated = structs.replace(common, predicted=row["label"], confidence=row["confidence"])
            by_read_out.setdefault(f"{name}, stated", []).append(with_stated)
    return by_read_out


def line(name: str, rows: Sequence[Prediction]) -> str:
    """A method's metrics; several seeds are pooled, with intervals by face."""
    card = build_scorecard({name: rows}, subject=name)
    headline, faces = card.method(name).find("all").headline, len({row.cluster for row in rows})
    return f"| {name} | {faces:,} | " + " | ".join(plain(headline.get(metric)) for metric in SHOWN) + " |"


def page(features: Path, models: Mapping[str, Path], second: Mapping[str, dict[str, int]]) -> str:
    """Both tables."""
    torch.set_num_threads(1)
    stored = dict(np.load(features / "ferplus.npz"))
    splits = {split: rows_of(stored, split) for split in ("train", "calibrate", "test")}
    views = ViewSet(TASK, tuple(stored["labels"].tolist()), splits)
    damaged = [dict(np.load(features / f"ferplus-{kind}-{MIDDLE}.npz")) for kind in IMAGE_CORRUPTIONS]
    tables: dict[str, list[str]] = {CLEAN: [], CORRUPTED: []}
    known: dict[str, Prediction] = {}
    for name in METHODS:
        rows: dict[str, list[Prediction]] = {CLEAN: [], CORRUPTED: []}
        for estimator in (taught(views, name, seed) for seed in SEEDS):
            rows[CLEAN] += answers(estimator, splits["test"], second, name)
            for n, faces in enumerate(damaged):
                made = answers(estimator, rows_of(faces, "test"), {}, name)
                rows[CORRUPTED] += [structs.replace(row, id=f"{row.id}/{n}") for row in made]
        known = known or {row.cluster: row for row in rows[CLEAN]}
        for title, made in rows.items():
            tables[title].append(line(name, made))
        print(f"{name}: done", flush=True)
    for name, path in models.items():
        tables[CLEAN] += [line(kind, made) for kind, made in model_rows(path, name, known).items()]
    header = "| method | faces | " + " | ".join(SHOWN.values()) + " |\n|" + " --- |" * (len(SHOWN) + 2)
    return "\n\n".join(f"## Faces {title}\n\n" + "\n".join([header, *lines]) for title, lines in tables.items())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", type=Path, required=True, help="folder of photo_features")
    parser.add_argument("--fer", type=Path, required=True, help="Parquet file of the faces, for the second panel")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE", help="rows of `real read`")
    arguments = parser.parse_args()
    second = {face.id: face.second_votes for face in read_samples(arguments.fer) if face.second_votes}
    models = {name: Path(file) for name, file in (each.split("=", 1) for each in arguments.model)}
    print(page(arguments.features, models, second))


if __name__ == "__main__":
    main()
