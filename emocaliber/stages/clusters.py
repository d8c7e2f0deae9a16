"""Which clusters a stage learned from and which it did not: folds of stage 1, the held-out share of stage 3.

A confidence must not be learned from a label that the model has already seen. With folds (cross-fitting), stage 2's
teachers judge only rows that they were not trained on; a cluster's fold depends on its name alone, not on its split,
file or position. Stage 3 holds out a share of the clusters by the seed. Everything fitted after it (a temperature, an
isotonic map, a threshold, a constant confidence) is fitted on fresh rows alone: those of clusters that it did not learn
from, which served for selecting its step and nothing else. The clusters that it learned from are recorded beside the
weights, as hashes.

    emocaliber train recipes/tiny/1-label.yaml fold=1/3 --out out/1        # and 2/3, 3/3
    emocaliber train recipes/tiny/2-verbalize.yaml "teachers=[out/1/adapter, out/2/adapter, out/3/adapter]" \\
        --adapter out/1-label/adapter --out out/2-verbalize

    trained = read_trained_clusters(Path("out/demo/3-calibrate/adapter"))
    fresh_rows(read_predictions(Path("stated.calibrate.jsonl")), trained)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction
from emocaliber.models.location import read_question

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fold:
    """Part `number`, from 1, of `folds` equal parts of all clusters."""

    number: int
    folds: int

    def __str__(self) -> str:
        return f"{self.number}/{self.folds}"

    def contains(self, cluster: str) -> bool:
        """Whether the cluster belongs to this fold."""
        digest = hashlib.sha256(cluster.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.folds == self.number - 1


def fold_of(text: str) -> Fold:
    """The fold that "2/3" names. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) or int(match[2]) < 2:
        raise ValueError(f"{text!r} is no fold; write 1/3, 2/3 and 3/3 for three folds")
    return Fold(int(match[1]), int(match[2]))


def left_out_fold(adapter: Path) -> Fold | None:
    """The fold that a teacher was not trained on, from the record of its run; None if it was trained on all rows.

    Raises UserError where there is no record.
    """
    path = adapter.parent / "inputs.json"
    try:
        fold = json.loads(path.read_text())["recipe"].get("fold")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} should say how {adapter} was trained; name adapters where `emocaliber train` left them"
        ) from error
    return None if fold is None else fold_of(fold)


def rows_by_teacher(clusters: Sequence[str], left_out: Sequence[Fold | None]) -> list[list[int]]:
    """For each teacher, the row numbers that it judges: those of the fold that it left out, or all if it left out none.

    `clusters` are the rows' clusters. Every row has the same number of teachers whatever its split, so that one
    temperature fits all. Raises ValueError where a row has none.
    """
    rows = [[i for i, cluster in enumerate(clusters) if fold is None or fold.contains(cluster)] for fold in left_out]
    covered = {i for part in rows for i in part}
    if missing := next((cluster for i, cluster in enumerate(clusters) if i not in covered), None):
        folds = ", ".join(str(fold) for fold in left_out)
        raise ValueError(f"every teacher was trained on cluster {missing!r}; give one for each fold, not only {folds}")
    return rows


def averaged(rows: int, by_teacher: Sequence[tuple[Sequence[int], Sequence[Floats]]]) -> list[Floats]:
    """The mean distribution of each of `rows` rows over its teachers, each of which gives row numbers and their
    distributions."""
    beliefs: list[list[Floats]] = [[] for _ in range(rows)]
    for numbers, distributions in by_teacher:
        for number, distribution in zip(numbers, distributions, strict=True):
            beliefs[number].append(distribution)
    return [np.mean(distributions, axis=0) for distributions in beliefs]


TRAINED = "trained_clusters.json"


def held_out_clusters(clusters: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """A random `share` (0 to 1) of the distinct clusters, rounded to a whole number; independent of their order."""
    distinct = sorted(set(clusters))
    chosen = np.random.default_rng(seed).permutation(len(distinct))[: round(share * len(distinct))]
    return frozenset(distinct[i] for i in chosen)


def write_trained_clusters(weights: Path, clusters: Iterable[str]) -> None:
    """Record in an adapter's or a model's folder which clusters stage 3 learned from."""
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
    """Hashes of the clusters that stage 3 learned from; empty for the weights of another stage, and for a model without
    a record of its stage. Raises UserError for weights of stage 3 without this record: no row is known to be fresh.
    """
    folder = Path(weights)
    question = read_question(folder)
    if (question is None or question.stage != "calibrate") and not (folder / TRAINED).is_file():
        return frozenset()
    return read_trained_clusters(folder)


def fresh_rows(rows: Iterable[Prediction], trained: frozenset[str]) -> list[Prediction]:
    """The rows, in order, whose clusters are not among `trained` (hashes)."""
    return [row for row in rows if _hash(row.cluster) not in trained]


def _hash(cluster: str) -> str:
    return hashlib.sha256(cluster.encode()).hexdigest()[:12]
