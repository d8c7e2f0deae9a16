"""Folds of the clusters (cross-fitting), so that no label teaches the confidence in itself: which rows a teacher of
stage 2 was kept from.

A cluster's fold follows from its name alone: whatever the split, the file and the order of rows.

    emocaliber train recipes/tiny/1-label.yaml fold=1/3 --out out/1        # and 2/3, 3/3
    emocaliber train recipes/tiny/2-verbalize.yaml "teachers=[out/1/adapter, out/2/adapter, out/3/adapter]" \\
        --adapter out/1-label/adapter --out out/2-verbalize
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emocaliber.core.errors import UserError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fold:
    """The `number`th, from 1, of `folds` parts of all clusters."""

    number: int
    folds: int

    def __str__(self) -> str:
        return f"{self.number}/{self.folds}"

    def holds(self, cluster: str) -> bool:
        """Whether the cluster belongs to it."""
        digest = hashlib.sha256(cluster.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.folds == self.number - 1


def fold_of(text: str) -> Fold:
    """The fold that "2/3" names. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) or int(match[2]) < 2:
        raise ValueError(f"{text!r} is no fold; write such as 1/3, 2/3 and 3/3 for three of them")
    return Fold(int(match[1]), int(match[2]))


def kept_from(adapter: Path) -> Fold | None:
    """The fold that a teacher did not learn from, as its training wrote down; None where it learned from all.

    Raises UserError where nothing was written down.
    """
    path = adapter.parent / "inputs.json"
    try:
        fold = json.loads(path.read_text())["recipe"].get("fold")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} should say how {adapter} was trained; name adapters where `emocaliber train` left them"
        ) from error
    return None if fold is None else fold_of(fold)


def speakers(clusters: Sequence[str], teachers: Sequence[Fold | None]) -> list[list[int]]:
    """For each teacher, the rows that it speaks for: those of the fold that it was kept from, or all where of none.

    Every row has the same number of speakers whatever its split, so that one temperature fits all. Raises ValueError
    where a row has none.
    """
    rows = [[i for i, cluster in enumerate(clusters) if fold is None or fold.holds(cluster)] for fold in teachers]
    spoken_for = {i for part in rows for i in part}
    if missing := next((cluster for i, cluster in enumerate(clusters) if i not in spoken_for), None):
        folds = ", ".join(str(fold) for fold in teachers)
        raise ValueError(f"no teacher was kept from cluster {missing!r}; give one for every fold, not only {folds}")
    return rows


def averaged(rows: int, spoken: Sequence[tuple[Sequence[int], Sequence[Floats]]]) -> list[Floats]:
    """The mean of what each row's speakers believe: a distribution over its candidates for each of `rows` rows."""
    beliefs: list[list[Floats]] = [[] for _ in range(rows)]
    for numbers, distributions in spoken:
        for number, distribution in zip(numbers, distributions, strict=True):
            beliefs[number].append(distribution)
    return [np.mean(distributions, axis=0) for distributions in beliefs]
