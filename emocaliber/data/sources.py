"""Sources for prediction: they are checked, and their rows selected and counted, before a model is loaded.

A source is streamed, never held in memory, and can be read repeatedly: once to count its rows, then for its images.

    source = PredictionSource(("photos",), own_labels=("joy", "anger"))
    rows = source.checked()
    for sample in source.samples(rows.splits): ...
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.samples import Sample
from emocaliber.data.any_source import PASSED_OVER, TEST, AnySource
from emocaliber.data.layouts import HUB
from emocaliber.data.rows import Place, Problem, Row

UNLABELLED, ALL = "unlabelled", "all"
MOST_PROBLEMS = 3


@dataclass
class Rows:
    """The result of checking a source: the number of selected rows (None: unknown), the selected splits (None: all),
    how many of the rows are labelled, and what was skipped, by kind."""

    count: int | None
    splits: tuple[str, ...] | None
    labelled: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)


class Samples:
    """An iterable over a source's rows that starts anew each time."""

    def __init__(self, source: PredictionSource, splits: tuple[str, ...] | None) -> None:
        self._source, self._splits = source, splits

    def __iter__(self) -> Iterator[Sample]:
        return self._source.samples(self._splits)


@dataclass(frozen=True)
class PredictionSource(AnySource):
    """A source with a selection of rows: those of one `split`, or "all"; by default the test rows, or else the
    unlabelled ones; at most `limit` of them."""

    split: str | None = None
    limit: int | None = None

    def checked(self, holds: Callable[[str], bool] = lambda _: True) -> Rows:
        """Read everything but the images, and count the selected rows for whose id `holds` is true.

        Raises UserError for a missing source, invalid rows, repeated ids, or if no row is selected.
        """
        self.label_names(())  # a wrong --labels is the first thing to say
        if any(name.startswith(HUB) for name in self.names):
            return Rows(None, None if self.split == ALL else (self.split or TEST, UNLABELLED))
        splits, counted, labelled, passed_over = (Counter[str]() for _ in range(4))
        problems, wrong, ids = list[Problem](), 0, array("Q")
        for entry in self.entries(pictures=False):
            if isinstance(entry, Row):
                splits[entry.sample.split] += 1
                ids.append(_hash(entry.sample.id))
                if holds(entry.sample.id):
                    counted[entry.sample.split] += 1
                    labelled[entry.sample.split] += entry.sample.label is not None
            elif isinstance(entry, Problem):
                wrong += 1
                problems += [entry] if wrong <= MOST_PROBLEMS else []
            elif entry.kind == PASSED_OVER:
                passed_over[entry.what] += entry.count
        self._refuse(problems, wrong, sum(splits.values()), passed_over)
        chosen = self._chosen(splits)
        self._refuse_repeated(ids)
        for split in sorted(splits.keys() - set(chosen)):
            passed_over[f"rows of split {split}"] = splits[split]
        count = sum(counted[split] for split in chosen)
        count = count if self.limit is None else min(count, self.limit)
        return Rows(count, chosen, min(count, sum(labelled[split] for split in chosen)), passed_over)

    def samples(self, splits: tuple[str, ...] | None) -> Iterator[Sample]:
        """The rows of these splits (None: all), in order, each with its image or a reference to it.

        Raises UserError as `checked` does.
        """
        left = self.limit
        for entry in self.entries(pictures=True):
            if left == 0:
                return
            if isinstance(entry, Problem):
                raise UserError(str(entry))
            if isinstance(entry, Row) and (splits is None or entry.sample.split in splits):
                left = None if left is None else left - 1
                yield entry.sample

    def _chosen(self, splits: Counter[str]) -> tuple[str, ...]:
        there = ", ".join(sorted(splits))
        if self.split == ALL:
            return tuple(sorted(splits))
        if self.split is not None:
            if self.split not in splits:
                near = did_you_mean(self.split, splits)
                raise UserError(f"{self._shown}: no row has split {self.split!r}; there are {there}{near}")
            return (self.split,)
        for split in (TEST, UNLABELLED):
            if split in splits:
                return (split,)
        raise UserError(f"{self._shown}: its rows are of splits {there}; choose with --split NAME, or --split all")

    @property
    def _shown(self) -> str:
        return self.names[0] + (f" and {len(self.names) - 1} more" if len(self.names) > 1 else "")

    def _refuse(self, problems: list[Problem], wrong: int, rows: int, passed_over: Counter[str]) -> None:
        if problems:
            shown = "".join(f"\n  {problem}" for problem in problems)
            more = f"\n  and {wrong - len(problems):,} more" if wrong > len(problems) else ""
            noun = "problem" if wrong == 1 else "problems"
            raise UserError(
                f"{self._shown}: {wrong:,} {noun}, nothing was asked:{shown}{more}\n  `emocaliber data check"
                f" {self.names[0]}` lists them all, `emocaliber data convert --drop-problems` leaves them out"
            )
        if not rows:
            counted = ", ".join(f"{count:,} {what}" for what, count in passed_over.most_common())
            only = f", only {counted}" if counted else "; it is empty"
            raise UserError(f"{self._shown}: there is no picture in it{only}")

    def _refuse_repeated(self, ids: array[int]) -> None:
        """Raises UserError naming both places of the first repeated id. Ids are compared by hash, 8 MB per million."""
        hashes = np.frombuffer(ids, np.uint64)
        unique, counts = np.unique(hashes, return_counts=True)
        if len(unique) == len(hashes):
            return
        twice, seen = {int(value) for value in unique[counts > 1]}, dict[str, Place]()
        for entry in self.entries(pictures=False):
            if isinstance(entry, Row) and _hash(name := entry.sample.id) in twice:
                if name in seen:
                    raise UserError(f"{entry.place}: id {name!r} is that of {seen[name]} too; give every row its own")
                seen[name] = entry.place


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
