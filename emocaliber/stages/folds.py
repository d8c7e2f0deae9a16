"""Folds of the clusters, so that no label teaches the confidence in itself: which rows a teacher was kept from.

Pure functions. A cluster's fold follows from its name alone: whatever the split, the file and the order of rows.

    fold: 1/3                                      # stage 1, three times: 1/3, 2/3, 3/3
    teachers: [out/1/adapter, out/2/adapter, out/3/adapter]     # stage 2
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) or int(found[2]) < 2:
        raise ValueError(f"{text!r} is no fold; write such as 1/3, 2/3 and 3/3 for three of them")
    return Fold(int(found[1]), int(found[2]))


def speakers(clusters: Sequence[str], teachers: Sequence[Fold | None]) -> list[list[int]]:
    """For each teacher, the rows that it speaks for: those of the fold that it was kept from, or all where of none.

    Every row has the same number of speakers whatever its split, so that one temperature fits all. Raises ValueError
    where a row has none.
    """
    rows = [[i for i, one in enumerate(clusters) if fold is None or fold.holds(one)] for fold in teachers]
    heard = {i for part in rows for i in part}
    if missing := next((one for i, one in enumerate(clusters) if i not in heard), None):
        given = ", ".join(str(fold) for fold in teachers)
        raise ValueError(f"no teacher was kept from cluster {missing!r}; give one for every fold, not only {given}")
    return rows


def averaged(rows: int, spoken: Sequence[tuple[Sequence[int], Sequence[Floats]]]) -> list[Floats]:
    """The mean of what each row's speakers believe: a distribution over its candidates for each of `rows` rows."""
    heard: list[list[Floats]] = [[] for _ in range(rows)]
    for numbers, beliefs in spoken:
        for number, belief in zip(numbers, beliefs, strict=True):
            heard[number].append(belief)
    return [np.mean(beliefs, axis=0) for beliefs in heard]
