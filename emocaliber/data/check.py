"""Is this data fit to train on? Every row and picture in one pass, then every overlap between splits.

Not a mender: nothing is changed, every problem says where it is and how to mend it.

    emocaliber data check photos --out out/check
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from emocaliber.core.images import FIXES
from emocaliber.core.samples import Sample
from emocaliber.data.facts import Facts, FactStore, facts_of
from emocaliber.data.overlaps import near_pairs
from emocaliber.data.rows import Entry, Note, Place, Problem, Row
from emocaliber.data.splits import SIDES
from emocaliber.data.statistics import Statistics

SHOWN_PER_LABEL = 8
PAIRS_SHOWN = 60
SEPARATE = "put both into one split, or drop one; `emocaliber data split` does"


@dataclass(frozen=True)
class Seen:
    """What is kept of a row once it is checked: enough to name it, not its bytes."""

    place: Place
    id: str
    task: str
    split: str
    cluster: str
    label: str | None
    facts: Facts

    @property
    def side(self) -> str:
        """What must not share items: taught, calibrated on, tested; any other split stands for itself."""
        return SIDES.get(self.split, self.split)


@dataclass
class Report:
    """What a check found. `pairs` are overlaps between splits, as indices into `seen`; `shown` is a random sample."""

    statistics: Statistics = field(default_factory=Statistics)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    shown: dict[str, list[Sample]] = field(default_factory=dict)
    near_within: int = 0

    @property
    def counts(self) -> Counter[str]:
        """How many problems there are of each kind."""
        return Counter(problem.kind for problem in self.problems)


def check(
    found: Iterable[Entry], store: FactStore, workers: int, on_progress: Callable[[int], None] = lambda count: None
) -> Report:
    """Check every row, then every pair of rows in different splits. Memory: about a kilobyte a row, not its picture."""
    report = Report()
    rows = _rows(found, report)
    drawn, ids = _Draw(), dict[str, Place]()
    for row, facts in facts_of(rows, store, workers, on_progress):
        _check_row(row, facts, ids, report)
        drawn.offer(row.sample)
    report.shown = drawn.chosen
    _check_clusters(report)
    _check_contents(report)
    _check_looks(report)
    if not report.seen and not report.problems:
        report.problems.append(Problem("no rows", Place("the source"), "", "there is no row", "check its name"))
    return report


def _rows(entries: Iterable[Entry], report: Report) -> Iterator[Row]:
    for entry in entries:
        if isinstance(entry, Row):
            yield entry
        elif isinstance(entry, Note):
            report.notes.append(entry)
        else:
            report.problems.append(entry)


def _check_row(row: Row, facts: Facts, ids: dict[str, Place], report: Report) -> None:
    sample = row.sample
    report.statistics.add(sample, facts)
    if facts.fault:
        report.problems.append(Problem(facts.fault, row.place, "image", facts.sentence, FIXES[facts.fault]))
    if sample.id in ids:
        what = f"{sample.id!r} is the id of {ids[sample.id]} too"
        report.problems.append(Problem("duplicate id", row.place, "id", what, "give every row its own"))
    ids.setdefault(sample.id, row.place)
    report.seen.append(Seen(row.place, sample.id, sample.task, sample.split, sample.cluster, sample.label, facts))


def _check_clusters(report: Report) -> None:
    """A cluster is one item: rows of it may not be taught and tested."""
    sided = [i for i, one in enumerate(report.seen) if one.split in SIDES]
    for i, j in _first_of_each_side(sided, report.seen, lambda one: (one.task, one.cluster)):
        one, other = report.seen[i], report.seen[j]
        what = f"{other.cluster!r} is the cluster of {one.place} in split {one.split} too"
        report.problems.append(Problem("cluster in two splits", other.place, "cluster", what, SEPARATE))


def _check_contents(report: Report) -> None:
    """The same bytes in two splits, or under two labels of one task."""
    usable = [i for i, one in enumerate(report.seen) if not one.facts.fault]
    for i, j in _first_of_each_side(usable, report.seen, lambda one: one.facts.content):
        report.pairs.append((i, j))
        report.problems.append(_overlap(report, i, j, "same picture in two splits", "the same file"))
    labels: dict[tuple[str, str], Seen] = {}
    for one in (report.seen[i] for i in usable if report.seen[i].label is not None):
        first = labels.setdefault((one.task, one.facts.content), one)
        if first.label != one.label:
            what = f"{one.label!r}, but {first.place} has the same picture with {first.label!r}"
            report.problems.append(Problem("two labels for one picture", one.place, "label", what, "drop one of them"))


def _check_looks(report: Report) -> None:
    """Near-duplicates in two splits; those within one are counted."""
    unique: dict[str, int] = {}
    for i, one in enumerate(report.seen):
        if not one.facts.fault:
            unique.setdefault(one.facts.content, i)
    index = list(unique.values())
    for a, b in near_pairs([report.seen[i].facts for i in index]):
        i, j = index[a], index[b]
        if report.seen[i].side == report.seen[j].side:
            report.near_within += 1
            continue
        report.pairs.append((i, j))
        report.problems.append(_overlap(report, i, j, "near-duplicate in two splits", "nearly the same picture"))


def _overlap(report: Report, i: int, j: int, kind: str, how: str) -> Problem:
    one, other = report.seen[i], report.seen[j]
    what = f"{how} as {one.place} ({one.id}), which is in split {one.split}; this is {other.split}"
    return Problem(kind, other.place, "image", what, SEPARATE)


def _first_of_each_side(
    indices: Iterable[int], seen: list[Seen], key: Callable[[Seen], Hashable]
) -> Iterator[tuple[int, int]]:
    """For each key the first row of each side that has it, pair by pair."""
    sides: defaultdict[Hashable, dict[str, int]] = defaultdict(dict)
    for i in indices:
        sides[key(seen[i])].setdefault(seen[i].side, i)
    for of_key in sides.values():
        yield from combinations(of_key.values(), 2)


class _Draw:
    """A few rows of each label, each with the same chance (reservoir sampling), seeded."""

    def __init__(self) -> None:
        self.chosen: dict[str, list[Sample]] = {}
        self._offered: Counter[str] = Counter()
        self._random = random.Random(0)

    def offer(self, sample: Sample) -> None:
        label = sample.label or "(no label)"
        kept = self.chosen.setdefault(label, [])
        self._offered[label] += 1
        if len(kept) < SHOWN_PER_LABEL:
            kept.append(sample)
        elif (place := self._random.randrange(self._offered[label])) < SHOWN_PER_LABEL:
            kept[place] = sample
