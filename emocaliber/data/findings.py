"""The page that a check ends with, fit for the appendix of a paper: what is odd in a set, how often, and what mends it.

emocaliber data check ferplus --out out/check; cat out/check/findings.md
"""

from __future__ import annotations

from collections import Counter

from emocaliber import __version__
from emocaliber.data.check import Report

_BY_SPLIT = "`data split` below"
_REMEDIES = {
    "same picture in two splits": _BY_SPLIT,
    "near-duplicate in two splits": _BY_SPLIT,
    "cluster in two splits": _BY_SPLIT,
    "two labels for one picture": f"{_BY_SPLIT} keeps such rows in one split; --drop-problems of check, convert and"
    " train leaves them out",
    "class number without a name": "`--labels`",
    "split or label?": "renaming the folders, or `--labels`",
}
_DROPPED = "`--drop-problems`, or by hand"


def findings_page(report: Report, name: str, split_command: str) -> str:
    """Markdown: the rows by split, a table of findings with counts and remedies, and the command to copy."""
    rows = len(report.seen)
    splits = ", ".join(f"{split} {count:,}" for split, count in report.statistics.splits.items())
    lines = [f"# {name}: {rows:,} rows read ({splits})", "", f"By `emocaliber data check`, version {__version__}.", ""]
    table = [*_noted(report), *_without_label(report), *_problems(report)]
    if report.near_within:
        table.append(
            ("near-duplicates within a split", report.near_within, "no fault; `data split` keeps them together")
        )
    if not table:
        return "\n".join([*lines, "Nothing is odd.", ""])
    lines += ["| finding | count | mended by |", "|---|---|---|"]
    lines += [f"| {finding} | {count:,} | {remedy} |" for finding, count, remedy in table]
    if report.leaks:
        involved = len({i for leak in report.leaks for i in (leak.first, leak.second)})
        lines += ["", f"{involved:,} rows are involved in overlaps between splits. The test rows as published, and"
                  f" nothing else that shows them:\n\n    {split_command}"]  # fmt: skip
    named = [str(note) for note in report.notes if "with other votes" in note.kind]
    return "\n".join([*lines, *(["", *named] if named else []), ""])


def _noted(report: Report) -> list[tuple[str, int, str]]:
    counts: Counter[str] = Counter()
    for note in report.notes:
        counts[note.kind] += note.count
    return [(kind, count, "the reader of this set") for kind, count in counts.items()]


def _without_label(report: Report) -> list[tuple[str, int, str]]:
    unlabelled = sum(seen.label is None for seen in report.seen)
    remedy = "target=votes learns from votes that tie; `data split` moves such rows to the splits unlabelled and tied"
    return [("rows without a label", unlabelled, remedy)] if unlabelled else []


def _problems(report: Report) -> list[tuple[str, int, str]]:
    return [(kind, count, _REMEDIES.get(kind, _DROPPED)) for kind, count in report.counts.most_common()]
