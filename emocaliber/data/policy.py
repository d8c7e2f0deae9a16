"""Problem handling, shared by check, convert, split and train: stop at problems, or drop the rows that have them.

Dropped rows are listed with their reasons, counted by kind, and limited to a share of all rows. Of rows that overlap
between splits, those of the more test-like split are kept (test before calibrate before train). Training rows are
checked once, by one process, before a stage starts; near-duplicates are detected by `data check` and `data split` only.

    emocaliber data convert ferplus --drop-problems --max-dropped 0.05 --out ferplus.parquet
    emocaliber train RECIPE drop_problems=true max_dropped=0.05 --out DIR
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.images import FIXES
from emocaliber.core.samples import Sample
from emocaliber.data.facts import FactStore, facts_of
from emocaliber.data.leaks import RANKS, SIDES, Item, check_disjoint, clashing
from emocaliber.data.rows import Problem
from emocaliber.data.sample_table import SampleSummary, in_splits, summaries

DEFAULT_SHARE = 0.1
SECOND_PANEL, FURTHER_PANEL = "votes of a second panel", "votes of a further panel"


@dataclass(frozen=True)
class Policy:
    """`drop`: drop rows with problems instead of stopping; `most` is the largest share of rows that may be dropped."""

    drop: bool = False
    most: float = DEFAULT_SHARE

    def __post_init__(self) -> None:
        if not 0 <= self.most <= 1:
            raise UserError(f"--max-dropped: {self.most} is not a share between 0 and 1")


@dataclass(frozen=True)
class Dropped:
    """One dropped row or file, and why."""

    place: str
    id: str
    kind: str
    reason: str


@dataclass
class Dropping:
    """What is dropped: `rows` by index among the rows read, `unread` by place. `second_panels` maps a kept row to the
    row whose votes become its second panel's."""

    rows: dict[int, Dropped] = field(default_factory=dict)
    unread: dict[str, Dropped] = field(default_factory=dict)
    second_panels: dict[int, int] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """The number of dropped rows, by kind."""
        return Counter(dropped.kind for dropped in (*self.unread.values(), *self.rows.values()))

    def add(self, index: int, place: object, name: str, kind: str, reason: str) -> None:
        """Drop a row; its first reason is recorded."""
        self.rows.setdefault(index, Dropped(str(place), name, kind, reason))

    def add_unread(self, problems: Sequence[Problem]) -> None:
        """Drop what could not be read. Raises UserError for a problem that dropping does not fix."""
        for problem in problems:
            if not problem.droppable:
                raise UserError(f"{problem}. This concerns more than one row, so --drop-problems does not help")
            self.unread.setdefault(
                str(problem.place), Dropped(str(problem.place), "", problem.kind, f"{problem.what}; {problem.fix}")
            )

    def add_panels(self, items: Sequence[Item], voted: Sequence[bool], names: Sequence[str]) -> None:
        """Of several rows with votes for the same image and task, keep the most test-like; the next becomes its second
        panel. Raises UserError if no image has votes twice.
        """
        rows: defaultdict[tuple[str, bytes], list[int]] = defaultdict(list)
        for i, item in enumerate(items):
            if i not in self.rows and item.pixels and voted[i]:
                rows[item.cluster[0], item.pixels].append(i)
        for same in rows.values():
            stays, *others = sorted(same, key=lambda i: (-RANKS.get(items[i].side, 0), i))
            for number, i in enumerate(others, start=2):
                reason = f"its votes are those of panel {number} on the picture of {names[stays]}, which stays"
                self.add(i, names[i], names[i], SECOND_PANEL if number == 2 else FURTHER_PANEL, reason)
            if others:
                self.second_panels[stays] = others[0]
        if not self.second_panels:
            raise UserError("--two-panels: no picture comes twice with votes; leave the option out")

    def add_overlaps(self, items: Sequence[Item], near: Sequence[tuple[int, int]], names: Sequence[str]) -> None:
        """Drop rows that overlap with a row of a more test-like split."""
        remaining = [i for i in range(len(items)) if i not in self.rows]
        shown = {items[i].pixels: place for place, i in enumerate(remaining)}
        looks = [(items[i].pixels, items[j].pixels) for i, j in near]
        pairs = [(shown[first], shown[other]) for first, other in looks if first in shown and other in shown]
        for place, (stays, kind) in clashing([items[i] for i in remaining], pairs).items():
            i, other = remaining[place], remaining[stays]
            reason = f"shares it with {names[other]}, which is in split {items[other].split} and stays"
            self.add(i, names[i], names[i], kind, reason)

    def add_conflicts(self, items: Sequence[Item], labels: Sequence[str | None], names: Sequence[str]) -> None:
        """Drop all rows of an image with two labels in one task, because it is unknown which is right."""
        rows: defaultdict[tuple[str, bytes], list[int]] = defaultdict(list)
        for i, item in enumerate(items):
            if i not in self.rows and item.pixels and labels[i] is not None:
                rows[item.cluster[0], item.pixels].append(i)
        for same in rows.values():
            if len({labels[i] for i in same}) > 1:
                for i in same:
                    other = next(j for j in same if labels[j] != labels[i])
                    reason = f"{labels[i]!r} here, {labels[other]!r} for the same picture in {names[other]}"
                    self.add(i, names[i], names[i], "two labels for one picture", reason)

    def check_share(self, rows: int, policy: Policy) -> None:
        """Raise UserError if more rows would be dropped than the policy allows."""
        panels = self.counts[SECOND_PANEL] + self.counts[FURTHER_PANEL]  # nothing is wrong with these
        total, out = rows + len(self.unread), len(self.rows) + len(self.unread) - panels
        if out > policy.most * total:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.counts.most_common())
            raise UserError(
                f"{out:,} of {total:,} rows ({out / total:.1%}) would be dropped ({kinds}), more than the share of"
                f" {policy.most:g} allowed; mend the data, or allow more with --max-dropped (max_dropped in a recipe)"
            )

    def write(self, path: Path) -> None:
        """Write the list of dropped rows as JSON Lines."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in self._in_order())
        path.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")

    def _in_order(self) -> list[Dropped]:
        return [*self.unread.values(), *(self.rows[i] for i in sorted(self.rows))]

    def sentence(self, rows: int, path: Path) -> str:
        """A sentence with the number of dropped rows by kind, and where they are listed."""
        out = len(self.rows) + len(self.unread)
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.counts.most_common())
        return f"{out:,} of {rows + len(self.unread):,} rows left out{f' ({kinds})' if kinds else ''}: {path}"


def unlearnable(
    rows: Sequence[Sample],
    policy: Policy,
    *,
    label_needed: Collection[str] = (),
    votes: bool = False,
    rationale_needed: Collection[str] = (),
    workers: int = 1,
) -> Dropping:
    """The rows to drop before training, by index: those with problems, those in `label_needed` splits without a label
    (with `votes`, without label and votes), and those in `rationale_needed` splits without a rationale.

    Raises UserError naming rows if the policy is to stop at problems, or if too many rows would be dropped.
    """
    dropping = Dropping()
    if not policy.drop:
        check_disjoint(in_splits(rows, list(SIDES)), workers=workers)
        return dropping

    def is_of(row: SampleSummary, splits: Collection[str]) -> bool:
        return bool({row.split, f"{row.task}:{row.split}"} & set(splits))

    read = list(summaries(rows))
    sided = [i for i, row in enumerate(read) if row.split in SIDES]
    items = [Item(row.split, b"", (row.task, row.cluster)) for row in read]
    with FactStore() as store:
        for i, facts in facts_of(sided, lambda i: read[i].image, store, workers):
            row = read[i]
            items[i] = Item(row.split, facts.pixels, (row.task, row.cluster))
            if facts.fault:
                dropping.add(i, row.id, row.id, facts.fault, f"{facts.sentence}; {FIXES[facts.fault]}")
            elif is_of(row, rationale_needed) and not row.reasoned:
                dropping.add(i, row.id, row.id, "no rationale", "rationales are learned, and it has none")
            elif is_of(row, label_needed) and row.label is None and not (votes and row.rated):
                reason = "labels are learned, and it has none; target=votes learns from its votes, where it has any"
                dropping.add(i, row.id, row.id, "no label", reason)
    names = [row.id for row in read]
    dropping.add_overlaps(items, [], names)
    dropping.add_conflicts(items, [row.label for row in read], names)
    dropping.check_share(len(sided), policy)
    return dropping
