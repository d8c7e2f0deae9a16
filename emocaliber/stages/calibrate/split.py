"""Which rows of the calibration split stage 3 learned from, and which it held out: clusters, by share and seed.

Whatever is fitted after stage 3 (a temperature, an isotonic map, a threshold, a constant's value) is fitted on fresh
rows alone: those of clusters that stage 3 did not learn from. They chose the step at which training stopped, and
nothing else. The clusters that were learned from are recorded beside the weights, as hashes.

    trained = read_trained_clusters(Path("out/demo/3-calibrate/adapter"))
    fresh_rows(read_predictions(Path("stated.calibrate.jsonl")), trained)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction
from emocaliber.models.question import read_question

TRAINED = "trained_clusters.json"


def held_out_clusters(clusters: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """`share` (0 to 1) of the distinct clusters, rounded to a whole number of them; their order changes nothing."""
    distinct = sorted(set(clusters))
    chosen = np.random.default_rng(seed).permutation(len(distinct))[: round(share * len(distinct))]
    return frozenset(distinct[i] for i in chosen)


def write_trained_clusters(weights: Path, clusters: Iterable[str]) -> None:
    """Record in the folder of an adapter or a model which clusters stage 3 learned from."""
    hashes = sorted({_hash(cluster) for cluster in clusters})
    write_atomically(weights / TRAINED, [json.dumps({"clusters": hashes}, indent=0).encode() + b"\n"])


def read_trained_clusters(weights: Path) -> frozenset[str]:
    """Hashes of the clusters that stage 3 learned from. Raises UserError where the folder has no such record."""
    path = weights / TRAINED
    try:
        return frozenset(map(str, json.loads(path.read_bytes())["clusters"]))
    except OSError as problem:
        raise UserError(
            f"{path}: {problem.strerror}; stage 3 writes it beside its weights: give the folder of a finished run, or"
            " run stage 3 again"
        ) from None
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{path}: {problem!r} is not as stage 3 writes it; run stage 3 again") from None


def trained_clusters_of(weights: str | Path) -> frozenset[str]:
    """Hashes of the clusters that stage 3 learned from; none where the weights are of another stage, or a model whose
    folder does not say. Raises UserError where stage 3 made them and its record is missing: fresh rows are unknown.
    """
    folder = Path(weights)
    question = read_question(folder)
    if (question is None or question.stage != "calibrate") and not (folder / TRAINED).is_file():
        return frozenset()
    return read_trained_clusters(folder)


def fresh_rows(rows: Iterable[Prediction], trained: frozenset[str]) -> list[Prediction]:
    """The rows, in order, of clusters that are not among `trained`."""
    return [row for row in rows if _hash(row.cluster) not in trained]


def _hash(cluster: str) -> str:
    return hashlib.sha256(cluster.encode()).hexdigest()[:12]
