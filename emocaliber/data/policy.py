"""What to do about problems, the same in check, convert, split and train: stop, or leave out what is wrong.

What is left out is written down with its reason, counted by kind, and never more than a share of the rows. Of rows that
two splits share, those of the more test-like split stay (test before calibrate before train). What training must not
learn from is looked at once, by one process, before a stage starts; near-duplicates are judged by `data check` and
`data split` alone, by a threshold.

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
from emocaliber.data.sample_table import Brief, briefs, in_splits

DEFAULT_SHARE = 0.1
SECOND_PANEL, FURTHER_PANEL = "votes of a second panel", "votes of a further panel"


@dataclass(frozen=True)
class Policy:
    """`drop`: leave out what is wrong instead of stopping; `most` is the largest share of the rows that may go."""

    drop: bool = False
    most: float = DEFAULT_SHARE

    def __post_init__(self) -> None:
        if not 0 <= self.most <= 1:
            raise UserError(f"--max-dropped: {self.most} is no share between 0 and 1")


@dataclass(frozen=True)
class Dropped:
    """One row or file that is left out, and why."""

    place: str
    id: str
    kind: str
    reason: str


@dataclass
class Dropping:
    """What is left out: `rows` by index among the rows that were read, `unread` by place. `second_panels` names, for a
    row that stays, the row whose votes are its second panel's."""

    rows: dict[int, Dropped] = field(default_factory=dict)
    unread: dict[str, Dropped] = field(default_factory=dict)
    second_panels: dict[int, int] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """How many are left out, by kind."""
        return Counter(dropped.kind for dropped in (*self.unread.values(), *self.rows.values()))

    def add(self, index: int, place: object, name: str, kind: str, reason: str) -> None:
        """Leave a row out, for the first reason that is given."""
        self.rows.setdefault(index, Dropped(str(place), name, kind, reason))

    def add_unread(self, problems: Sequence[Problem]) -> None:
        """Leave out what could not be read. Raises UserError where leaving one out mends nothing."""
        for problem in problems:
            if not problem.droppable:
                raise UserError(f"{problem}. This concerns more than one row, so --drop-problems does not help")
            self.unread.setdefault(
                str(problem.place), Dropped(str(problem.place), "", problem.kind, f"{problem.what}; {problem.fix}")
            )

    def add_panels(self, items: Sequence[Item], voted: Sequence[bool], names: Sequence[str]) -> None:
        """Of rows with votes on one picture of one task the most test-like stays, and the next is its second panel's.

        Raises UserError where no picture has votes twice.
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
        """Leave out rows that clash with one of a more test-like split."""
        remaining = [i for i in range(len(items)) if i not in self.rows]
        shown = {items[i].pixels: place for place, i in enumerate(remaining)}
        looks = [(items[i].pixels, items[j].pixels) for i, j in near]
        pairs = [(shown[first], shown[other]) for first, other in looks if first in shown and other in shown]
        for place, (stays, kind) in clashing([items[i] for i in remaining], pairs).items():
            i, other = remaining[place], remaining[stays]
            reason = f"shares it with {names[other]}, which is in split {items[other].split} and stays"
            self.add(i, names[i], names[i], kind, reason)

    def add_conflicts(self, items: Sequence[Item], labels: Sequence[str | None], names: Sequence[str]) -> None:
        """Leave out every row of a picture that has two labels in one task: nobody says which is right."""
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
        """Raise UserError where more would be left out than the policy allows."""
        panels = self.counts[SECOND_PANEL] + self.counts[FURTHER_PANEL]  # nothing is wrong with these
        total, out = rows + len(self.unread), len(self.rows) + len(self.unread) - panels
        if out > policy.most * total:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.counts.most_common())
            raise UserError(
                f"{out:,} of {total:,} rows ({out / total:.1%}) would be dropped ({kinds}), more than the share of"
                f" {policy.most:g} allowed; mend the data, or allow more with --max-dropped (max_dropped in a recipe)"
            )

    def write(self, path: Path) -> None:
        """One JSON object a line, beside which the counts can be checked."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in self._in_order())
        path.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")

    def _in_order(self) -> list[Dropped]:
        return [*self.unread.values(), *(self.rows[i] for i in sorted(self.rows))]

    def sentence(self, rows: int, path: Path) -> str:
        """What was left out, by kind, and where it is listed."""
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
    """What the policy leaves out of these rows, by index: those of `label_needed` splits without a label, too,
    or with `votes` without label and votes, and those of `rationale_needed` splits without a rationale.

    Raises UserError, naming rows, where it is to stop, or more than its share would go.
    """
    dropping = Dropping()
    if not policy.drop:
        check_disjoint(in_splits(rows, list(SIDES)), workers=workers)
        return dropping

    def is_of(row: Brief, splits: Collection[str]) -> bool:
        return bool({row.split, f"{row.task}:{row.split}"} & set(splits))

    read = list(briefs(rows))
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
