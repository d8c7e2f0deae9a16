"""What training must not learn from: pictures that cannot be read, and what two splits share.

It is looked at once, by one process, before a stage starts; what is known of a picture (see facts) is not looked at
again. Near-duplicates are the business of `data check` and `data split`: they are judged there by a threshold.

    dropping = unlearnable(rows, Policy(drop=True, most=0.05))
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from emocaliber.core.images import FIXES
from emocaliber.core.samples import Sample
from emocaliber.data.facts import FactStore, facts_of
from emocaliber.data.leaks import SIDES, Item, check_disjoint
from emocaliber.data.policy import Dropping, Policy


def unlearnable(
    rows: Sequence[Sample], policy: Policy, *, label_needed: Collection[str] = (), workers: int = 1
) -> Dropping:
    """What the policy leaves out of these rows, by index: those of `label_needed` splits without a label, too.

    Raises UserError, naming rows, where it is to stop, or more than its share would go.
    """
    sided = [i for i, row in enumerate(rows) if row.split in SIDES]
    dropping = Dropping()
    if not policy.drop:
        check_disjoint([rows[i] for i in sided], workers=workers)
        return dropping
    items = [Item(row.split, b"", (row.task, row.cluster)) for row in rows]
    with FactStore() as store:
        for i, facts in facts_of(sided, lambda i: rows[i].image, store, workers):
            row = rows[i]
            items[i] = Item(row.split, facts.pixels, (row.task, row.cluster))
            if facts.fault:
                dropping.add(i, row.id, row.id, facts.fault, f"{facts.sentence}; {FIXES[facts.fault]}")
            elif row.label is None and label_needed and {row.split, f"{row.task}:{row.split}"} & set(label_needed):
                reason = "labels are learned, and it has none; target=votes learns from its votes, where it has any"
                dropping.add(i, row.id, row.id, "no label", reason)
    names = [row.id for row in rows]
    dropping.add_overlaps(items, [], names)
    dropping.add_conflicts(items, [row.label for row in rows], names)
    dropping.check_share(len(sided), policy)
    return dropping
