"""Statistics of a data set: rows, labels, votes and image sizes, accumulated row by row in constant memory.

emocaliber data check photos --out out/check        prints them, and writes them to report.json
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

from emocaliber.core.samples import Sample
from emocaliber.data.facts import Facts
from emocaliber.data.votes import distribution


class Statistics:
    """Counts over all rows so far; `summary` returns them as plain values, ready for JSON."""

    def __init__(self) -> None:
        self.splits: Counter[str] = Counter()
        self.labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.rules: Counter[str] = Counter()
        self.raters: Counter[int] = Counter()
        self.kinds: Counter[str] = Counter()
        self.ties = 0
        self.rationales = 0
        self.entropy = 0.0
        self.formats: Counter[str] = Counter()
        self.sides: Counter[tuple[int, int]] = Counter()

    def add(self, sample: Sample, facts: Facts | None = None) -> None:
        """Count one row, and its image if its facts are known."""
        self.splits[sample.split] += 1
        self.labels[f"{sample.task}, {sample.split}"][sample.label or "(no label)"] += 1
        self.rules[sample.label_rule] += 1
        self.rationales += sample.rationale is not None
        self._add_votes(sample)
        if facts is not None and not facts.fault:
            self.formats[facts.format] += 1
            self.sides[facts.width, facts.height] += 1

    def _add_votes(self, sample: Sample) -> None:
        shares = distribution(sample)
        if shares is None:
            return
        values, fitted = list(shares[0].values()), shares[1]
        kind = sample.ratings.kind if sample.ratings else "counts"
        self.kinds[f"{kind} (fitted distribution)" if fitted else kind] += 1
        raters = sample.ratings.raters if sample.ratings and sample.ratings.raters else None
        self.raters[raters or sum((sample.votes or {}).values())] += 1
        self.ties += values.count(max(values)) > 1
        entropy = -sum(p * math.log(p) for p in values if p > 0)
        self.entropy += entropy / math.log(len(values)) if len(values) > 1 else 0.0

    def summary(self) -> dict[str, Any]:
        """All statistics; numbers of raters and sizes as lowest, median and highest; normalised entropy in [0, 1]."""
        summary: dict[str, Any] = {
            "rows": sum(self.splits.values()),
            "splits": dict(self.splits),
            "labels": {name: dict(counts.most_common()) for name, counts in sorted(self.labels.items())},
            "label rules": dict(self.rules),
            "formats": dict(self.formats),
        }
        if self.rationales:
            summary["rationales"] = self.rationales
        if self.sides:
            summary |= {"width": _spread(_along(self.sides, 0)), "height": _spread(_along(self.sides, 1))}
        if self.kinds:
            mean = self.entropy / sum(self.kinds.values())
            summary["votes"] = {
                "rows": sum(self.kinds.values()),
                "asked as": dict(self.kinds),
                "raters": _spread(self.raters),
                "ties": self.ties,
                "mean normalised entropy": round(mean, 4),
            }
        return summary


def _along(sides: Counter[tuple[int, int]], axis: int) -> Counter[int]:
    counts: Counter[int] = Counter()
    for side, number in sides.items():
        counts[side[axis]] += number
    return counts


def _spread(counts: Counter[int]) -> dict[str, int]:
    """Lowest, median and highest of counted numbers."""
    half, passed = sum(counts.values()) / 2, 0
    for value in sorted(counts):
        passed += counts[value]
        if passed >= half:
            return {"lowest": min(counts), "median": value, "highest": max(counts)}
    raise ValueError("nothing was counted")
