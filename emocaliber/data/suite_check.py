"""Is this the data that a suite means? Its tasks, splits, labels and numbers of test rows, beside a check's report.

emocaliber data check DIR --suite eval/suites/emoset.yaml --out out/check
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from emocaliber.data.check import Report
from emocaliber.data.rows import Place, Problem
from emocaliber.evaluation.suite import Suite


def differences(report: Report, suite: Suite, path: Path) -> Iterator[Problem]:
    """What the data and the suite do not agree on."""
    place = Place(str(path))
    rows = Counter((seen.task, seen.split) for seen in report.seen)
    named: defaultdict[str, set[str]] = defaultdict(set)
    for seen in report.seen:
        named[seen.task] |= {seen.label} if seen.label is not None else set()
    for task in sorted({task for task, _ in rows} - set(suite.tasks)):
        yield Problem("task not in the suite", place, "tasks", f"the data has a task {task!r}",
                      "rename it with --task, or name it in the suite")  # fmt: skip
    for split in sorted({split for _, split in rows} - set(suite.splits)):
        yield Problem("split not in the suite", place, "splits", f"the data has a split {split!r}",
                      "name it in the suite, or move its rows")  # fmt: skip
    for task, spec in suite.tasks.items():
        if strangers := sorted(named[task] - set(spec.labels)) if spec.labels else []:
            yield Problem("label not in the suite", place, task, f"the data has a label {strangers[0]!r}",
                          f"its labels are {', '.join(spec.labels)}")  # fmt: skip
        if spec.rows is not None and rows[task, "test"] != spec.rows:
            yield Problem("number of rows", place, task, f"{rows[task, 'test']:,} test rows, {spec.rows:,} published",
                          "look for rows that are missing, or came twice")  # fmt: skip
