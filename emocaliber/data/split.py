"""Rows into splits: whole groups to one side, labels in the same shares, seeded, and recorded.

A group is all that must not be parted: rows of one cluster (a subject, a source), of the same picture, or of
near-duplicates. scikit-learn's StratifiedGroupKFold does the rest.

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
"""The last is for stage 2, which asks a model about rows whose labels it was not taught."""
WITHOUT_LABEL = {"train": "unlabelled", "calibrate": "tied", "test": "tied", "unlabelled": "unlabelled"}
"""Where rows without a label go: stage 2 can learn from them, nothing can be judged by them."""
LEAKS = "known"
"""Where rows go that share a group with a kept test row: neither taught nor tested."""
MENDED_HERE = {
    "same picture in two splits", "near-duplicate in two splits", "cluster in two splits", "two labels for one picture",
}  # fmt: skip


@dataclass(frozen=True)
class Assignment:
    """For each row checked, in order: its split and its cluster; and a record of how, ready for JSON."""

    splits: list[str]
    clusters: list[str]
    record: dict[str, Any]

    def apply(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The same rows, moved."""
        for row, split, cluster in zip(rows, self.splits, self.clusters, strict=True):
            yield replace(row, sample=replace(row.sample, split=split, cluster=cluster))


def assign(
    report: Report, shares: Sequence[int], seed: int, *, keep_test: bool = False, without: Collection[int] = ()
) -> Assignment:
    """Assign every row that a check has seen but those `without`. `shares` are whole parts for train, calibrate,
    test and, where there is a fourth, unlabelled, whose rows keep their labels though no stage 1 is taught them.

    With `keep_test` the labelled rows of the split `test` stay, the others are shared out without a test share, and
    those that belong to a group with a test row go to the split `known`.

    Raises UserError where there are fewer groups than parts.
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
    """Raise UserError where the check found what splitting cannot mend."""
    if faults := [problem for problem in report.problems if problem.kind not in MENDED_HERE]:
        raise UserError(
            f"{len(faults)} problems must be mended first, such as {faults[0]}; --drop-problems leaves such rows out"
        )


def _groups(seen: Sequence[Seen], near: Sequence[tuple[int, int]]) -> list[int]:
    """For each row the first row of its group. `near` are near-duplicates, by any row that shows either picture."""
    pairs = [*_same(seen, lambda row: (row.task, row.cluster)), *_same(seen, lambda row: row.facts.pixels), *near]
    return groups(len(seen), pairs)


def _same(seen: Sequence[Seen], key: Any) -> Iterator[tuple[int, int]]:
    first: dict[Hashable, int] = {}
    for i, row in enumerate(seen):
        if (j := first.setdefault(key(row), i)) != i:
            yield j, i


def _folds(seen: Sequence[Seen], of_group: list[int], free: list[int], parts: list[int], seed: int) -> list[str]:
    """A split for each free row: folds dealt out to the splits by their parts."""
    total = sum(parts)
    named = [split for split, part in zip(SPLITS, parts, strict=False) for _ in range(part)]
    if total == 1:
        return named * len(free)
    strata = np.array([f"{seen[i].task}|{seen[i].label}" for i in free])
    members = np.array([of_group[i] for i in free])
    if len(set(members.tolist())) < total:
        raise UserError(f"{len(set(members.tolist()))} groups cannot be shared out in {total} parts; add data")
    splitter = StratifiedGroupKFold(total, shuffle=True, random_state=seed)
    chosen = np.empty(len(free), dtype=object)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a label rarer than the parts: the record shows where it is
            for split, (_, rows) in zip(named, splitter.split(strata, strata, members), strict=True):
                chosen[rows] = split
    except ValueError as error:
        raise UserError(f"no label has {total} rows to share out in {total} parts; add data ({error})") from error
    return list(chosen)


def _clusters(seen: Sequence[Seen], of_group: list[int]) -> list[str]:
    """A row's own cluster, or its group's first where the group is of several."""
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
