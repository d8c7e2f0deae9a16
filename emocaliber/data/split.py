"""Splitting rows by group, stratified by label, seeded and recorded.

A group is a set of rows that must stay together: rows of one cluster (a subject, a source), with the same image, or
with near-duplicates. The split is made with scikit-learn's StratifiedGroupKFold.

    emocaliber data split photos --out photos.parquet --shares 3:1:1 --seed 0
"""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from emocaliber.core.errors import UserError
from emocaliber.data.check import Report, Seen
from emocaliber.data.leaks import groups
from emocaliber.data.rows import Row

SPLITS = ("train", "calibrate", "test", "unlabelled")
"""The last is for stage 2, which queries the model on rows whose labels it was not trained on."""
WITHOUT_LABEL = {"train": "unlabelled", "calibrate": "tied", "test": "tied", "unlabelled": "unlabelled"}
"""The split of rows without a label, by the split assigned: stage 2 can use them, but nothing can be scored on them."""
LEAKS = "known"
"""The split of rows that share a group with a kept test row: used neither for training nor for testing."""
MENDED_HERE = {
    "same picture in two splits", "near-duplicate in two splits", "cluster in two splits", "two labels for one picture",
}  # fmt: skip


@dataclass(frozen=True)
class Assignment:
    """The split and the cluster of each checked row, in order, and a record of how they were assigned, ready for"
    " JSON."""

    splits: list[str]
    clusters: list[str]
    record: dict[str, Any]

    def apply(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows with their new splits and clusters."""
        for row, split, cluster in zip(rows, self.splits, self.clusters, strict=True):
            yield replace(row, sample=replace(row.sample, split=split, cluster=cluster))


def assign(
    report: Report, shares: Sequence[int], seed: int, *, keep_test: bool = False, without: Collection[int] = ()
) -> Assignment:
    """Assign every checked row, except those in `without`, to a split. `shares` are integer parts for train, calibrate,
    test and, optionally, unlabelled (whose rows keep their labels, which stage 1 is not trained on).

    With `keep_test`, the labelled rows of the split `test` stay there, the others are distributed over the other
    splits, and those in a group with a test row go to the split `known`.

    Raises UserError if there are fewer groups than parts.
    """
    left_out = set(without)
    stay = [i for i in range(len(report.seen)) if i not in left_out]
    seen = [report.seen[i] for i in stay]
    shown = {row.facts.pixels: place for place, row in enumerate(seen)}
    looks = [(report.seen[i].facts.pixels, report.seen[j].facts.pixels) for i, j in report.near]
    of_group = _groups(
        seen, [(shown[first], shown[other]) for first, other in looks if first in shown and other in shown]
    )
    fixed = {of_group[i] for i, row in enumerate(seen) if row.split == "test"} if keep_test else set()
    free = [i for i, group in enumerate(of_group) if group not in fixed]
    parts = _reduced([*shares[:2], 0, *shares[3:]] if keep_test else shares)
    of_test = ["test" if row.label is not None else WITHOUT_LABEL["test"] for row in seen]
    splits = [split if row.split == "test" else LEAKS for row, split in zip(seen, of_test, strict=True)]
    for i, split in zip(free, _folds(seen, of_group, free, parts, seed), strict=True):
        splits[i] = split if seen[i].label is not None else WITHOUT_LABEL[split]
    clusters = _clusters(seen, of_group)
    record = {
        "shares": dict(zip(SPLITS, shares, strict=False)), "seed": seed, "kept test": keep_test,
        "grouped by": "cluster, same picture, near-duplicate", "stratified by": "task and label",
        "groups": len(set(of_group)), "rows in groups of more than one": len(seen) - _singles(of_group),
        "rows": {split: dict(_labels(seen, splits, split)) for split in sorted(set(splits))},
    }  # fmt: skip
    return Assignment(splits, clusters, record)


def _reduced(shares: Sequence[int]) -> list[int]:
    divisor = math.gcd(*shares)
    if divisor == 0 or min(shares) < 0:
        raise UserError("--shares: give whole parts such as 3:1:1 or 3:1:1:1, not all of them 0")
    return [share // divisor for share in shares]


def refuse_faults(report: Report) -> None:
    """Raise UserError if the check found problems that splitting cannot fix."""
    if faults := [problem for problem in report.problems if problem.kind not in MENDED_HERE]:
        raise UserError(
            f"{len(faults)} problems must be fixed first, such as {faults[0]}; --drop-problems drops such rows"
        )


def _groups(seen: Sequence[Seen], near: Sequence[tuple[int, int]]) -> list[int]:
    """For each row, the first row of its group. `near` are near-duplicate pairs, each image by any row that shows"
    " it."""
    pairs = [*_same(seen, lambda row: (row.task, row.cluster)), *_same(seen, lambda row: row.facts.pixels), *near]
    return groups(len(seen), pairs)


def _same(seen: Sequence[Seen], key: Any) -> Iterator[tuple[int, int]]:
    first: dict[Hashable, int] = {}
    for i, row in enumerate(seen):
        if (j := first.setdefault(key(row), i)) != i:
            yield j, i


def _folds(seen: Sequence[Seen], of_group: list[int], free: list[int], parts: list[int], seed: int) -> list[str]:
    """The split of each free row: as many folds as parts, allotted to the splits by their parts."""
    total = sum(parts)
    named = [split for split, part in zip(SPLITS, parts, strict=False) for _ in range(part)]
    if total == 1:
        return named * len(free)
    strata = np.array([f"{seen[i].task}|{seen[i].label}" for i in free])
    members = np.array([of_group[i] for i in free])
    if len(set(members.tolist())) < total:
        raise UserError(f"{len(set(members.tolist()))} groups cannot be split into {total} parts; add data")
    splitter = StratifiedGroupKFold(total, shuffle=True, random_state=seed)
    chosen = np.empty(len(free), dtype=object)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a label with fewer rows than parts; the record shows it
            for split, (_, rows) in zip(named, splitter.split(strata, strata, members), strict=True):
                chosen[rows] = split
    except ValueError as error:
        raise UserError(f"no label has {total} rows to split into {total} parts; add data ({error})") from error
    return list(chosen)


def _clusters(seen: Sequence[Seen], of_group: list[int]) -> list[str]:
    """A row's own cluster, or the first cluster of its group if that contains several."""
    several: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
    for row, group in zip(seen, of_group, strict=True):
        several[group].add((row.task, row.cluster))
    return [
        seen[group].cluster if len(several[group]) > 1 else row.cluster
        for row, group in zip(seen, of_group, strict=True)
    ]


def _singles(of_group: list[int]) -> int:
    return sum(count == 1 for count in Counter(of_group).values())


def _labels(seen: Sequence[Seen], splits: list[str], split: str) -> Counter[str]:
    return Counter(row.label or "(no label)" for row, of in zip(seen, splits, strict=True) if of == split)
