"""Validation of a data set before training: every row and image in one pass, then every overlap between splits.

Nothing is changed; every problem says where it is and how to fix it.

    emocaliber data check photos --out out/check
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from emocaliber.core.images import FIXES
from emocaliber.core.samples import ImageSource, Sample
from emocaliber.data.facts import Facts, FactStore, facts_of
from emocaliber.data.leaks import Item, Items, Leak, exact_leaks, side_of
from emocaliber.data.near_duplicates import near_pairs
from emocaliber.data.policy import Dropping, Policy
from emocaliber.data.rows import Entry, Note, Place, Problem, Row
from emocaliber.data.statistics import Statistics

SHOWN_PER_LABEL = 8
PAIRS_SHOWN = 60
TOO_FEW = "too few classes"
SEPARATE = "put both into one split, or drop one; `emocaliber data split` does"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of a checked row: enough to name it and to find its image again, but not its bytes."""

    place: Place
    image: ImageSource | None
    id: str
    task: str
    split: str
    cluster: str
    label: str | None
    facts: Facts
    voted: bool = False

    @property
    def item(self) -> Item:
        """The row as leakage detection compares it."""
        return Item(self.split, self.facts.pixels, (self.task, self.cluster))


@dataclass
class Report:
    """The result of a check. `problems` are all problems; of these, `unread` are the reader's and `faults` those of
    single rows, by index into `seen`. `near` are near-duplicate pairs and `leaks` overlaps between splits, as indices.
    `shown` is a random sample of rows by label. `candidates` are each task's labels, with the place of its first
    row."""

    statistics: Statistics = field(default_factory=Statistics)
    problems: list[Problem] = field(default_factory=list)
    unread: list[Problem] = field(default_factory=list)
    faults: dict[int, Problem] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    near: list[tuple[int, int]] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    shown: dict[str, list[Sample]] = field(default_factory=dict)
    candidates: dict[str, tuple[Place, set[str]]] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """The number of problems of each kind."""
        return Counter(problem.kind for problem in self.problems)

    @property
    def near_within(self) -> int:
        """The number of near-duplicate pairs within a side, which are harmless."""
        return sum(side_of(self.seen[i].split) == side_of(self.seen[j].split) for i, j in self.near)

    def dropping(self, policy: Policy, *, overlaps: bool = True, two_panels: bool = False) -> Dropping:
        """The rows to drop under the policy. Without `overlaps`, rows that overlap between splits or have conflicting
        labels stay, because a new split fixes that. With `two_panels`, rows with the same image are merged, whatever
        the policy. Raises UserError if too many rows would go, or if dropping rows does not help."""
        dropping = Dropping()
        items = [seen.item for seen in self.seen]
        names = [f"{seen.place} ({seen.id})" for seen in self.seen]
        if policy.drop:
            dropping.add_unread([*self.unread, *(p for p in self.problems if p.kind == TOO_FEW)])
            for i, problem in self.faults.items():
                dropping.add(i, problem.place, self.seen[i].id, problem.kind, f"{problem.what}; {problem.fix}")
        if two_panels:
            dropping.add_panels(items, [seen.voted for seen in self.seen], names)
        if policy.drop and overlaps:
            dropping.add_overlaps(items, self.near, names)
            dropping.add_conflicts(items, [seen.label for seen in self.seen], names)
        dropping.check_share(len(self.seen), policy)
        return dropping


def check(
    entries: Iterable[Entry], store: FactStore, workers: int, on_progress: Callable[[int], None] = lambda count: None
) -> Report:
    """Check every row, then all rows for overlaps between splits. Takes about a kilobyte of memory per row."""
    report = Report()
    drawn, ids = _Draw(), dict[str, Place]()
    rows = _rows(entries, report)
    for row, facts in facts_of(rows, lambda row: row.sample.image, store, workers, on_progress):
        _check_row(row, facts, ids, report)
        drawn.offer(row.sample)
    report.shown = drawn.chosen
    report.leaks = list(exact_leaks(Items(len(report.seen), lambda i: report.seen[i].item)))
    report.near = list(_near(report.seen))
    report.leaks += [
        Leak("near-duplicate in two splits", i, j)
        for i, j in report.near
        if side_of(report.seen[i].split) != side_of(report.seen[j].split)
    ]
    report.problems += [_leak_problem(report, leak) for leak in report.leaks]
    report.problems += _conflicts(report.seen)
    report.problems += [
        Problem(
            TOO_FEW,
            place,
            "label",
            f"{next(iter(labels))!r} is the only label of task {task!r}",
            "nothing is taught or scored by one; name those to choose from with --labels joy,fear,...",
            droppable=False,
        )
        for task, (place, labels) in report.candidates.items()
        if len(labels) == 1
    ]
    if not report.seen and not report.problems:
        report.problems.append(
            Problem("no rows", Place("the source"), "", "there is no row", "check its name", droppable=False)
        )
    return report


def _rows(entries: Iterable[Entry], report: Report) -> Iterator[Row]:
    for entry in entries:
        if isinstance(entry, Row):
            yield entry
        elif isinstance(entry, Note):
            report.notes.append(entry)
        else:
            report.unread.append(entry)
            report.problems.append(entry)


def _check_row(row: Row, facts: Facts, ids: dict[str, Place], report: Report) -> None:
    sample, index = row.sample, len(report.seen)
    report.candidates.setdefault(sample.task, (row.place, set()))[1].update(sample.candidates)
    report.statistics.add(sample, facts)
    if facts.fault:
        report.faults[index] = Problem(facts.fault, row.place, "image", facts.sentence, FIXES[facts.fault])
        report.problems.append(report.faults[index])
    if sample.id in ids:
        what = f"{sample.id!r} is the id of {ids[sample.id]} too"
        problem = Problem("duplicate id", row.place, "id", what, "give every row its own")
        report.faults.setdefault(index, problem)
        report.problems.append(problem)
    ids.setdefault(sample.id, row.place)
    votes = sample.votes or {}
    if sample.label_rule == "given" and sample.label in votes and votes[sample.label] < max(votes.values()):
        what = f"the label is {sample.label!r}, which fewer raters chose than {max(votes, key=votes.__getitem__)!r}"
        report.notes.append(Note("label that is not its raters' favourite", row.place, what))
    image = None if isinstance(sample.image, bytes) else sample.image
    report.seen.append(
        Seen(
            row.place,
            image,
            sample.id,
            sample.task,
            sample.split,
            sample.cluster,
            sample.label,
            facts,
            bool(sample.votes),
        )
    )


def _near(seen: list[Seen]) -> Iterator[tuple[int, int]]:
    """Near-duplicate pairs, each distinct image represented by its first row."""
    unique: dict[bytes, int] = {}
    for i, each in enumerate(seen):
        if not each.facts.fault:
            unique.setdefault(each.facts.pixels, i)
    index = list(unique.values())
    yield from ((index[a], index[b]) for a, b in near_pairs([seen[i].facts for i in index]))


def _leak_problem(report: Report, leak: Leak) -> Problem:
    first, second = report.seen[leak.first], report.seen[leak.second]
    if leak.kind == "cluster in two splits":
        what = f"{second.cluster!r} is the cluster of {first.place} in split {first.split} too"
        return Problem(leak.kind, second.place, "cluster", what, SEPARATE)
    how = "the same picture" if leak.kind == "same picture in two splits" else "nearly the same picture"
    what = f"{how} as {first.place} ({first.id}), which is in split {first.split}; this is {second.split}"
    return Problem(leak.kind, second.place, "image", what, SEPARATE)


def _conflicts(seen: list[Seen]) -> Iterator[Problem]:
    """Problems for images that have two labels in one task."""
    labels: dict[tuple[str, bytes], Seen] = {}
    for each in seen:
        if each.facts.fault or each.label is None:
            continue
        first = labels.setdefault((each.task, each.facts.pixels), each)
        if first.label != each.label:
            what = f"{each.label!r}, but {first.place} has the same picture with {first.label!r}"
            yield Problem("two labels for one picture", each.place, "label", what, "drop one of them")


class _Draw:
    """A uniform random sample of a few rows per label (reservoir sampling), seeded."""

    def __init__(self) -> None:
        self.chosen: dict[str, list[Sample]] = {}
        self._offered: Counter[str] = Counter()
        self._random = random.Random(0)

    def offer(self, sample: Sample) -> None:
        label = sample.label or "(no label)"
        drawn = self.chosen.setdefault(label, [])
        self._offered[label] += 1
        if len(drawn) < SHOWN_PER_LABEL:
            drawn.append(sample)
        elif (place := self._random.randrange(self._offered[label])) < SHOWN_PER_LABEL:
            drawn[place] = sample
