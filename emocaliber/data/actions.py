"""What `emocaliber data` does: check, convert, split, corrupt, each with progress and the files that it leaves.

Not the work itself (see the modules of these names).

    emocaliber data check photos --out out/check
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import discard
from emocaliber.core.samples import Sample
from emocaliber.core.taxonomy import TAXONOMIES
from emocaliber.data.check import PAIRS_SHOWN, Report, check
from emocaliber.data.contact_sheet import described, sheet
from emocaliber.data.convert import write_parquet
from emocaliber.data.corruption import corrupted_copies
from emocaliber.data.facts import FactStore
from emocaliber.data.layouts import Source
from emocaliber.data.rows import Row, rows_only
from emocaliber.data.suite_check import differences
from emocaliber.evaluation.suite import load_suite

SENTENCES_SHOWN = 20
FACTS = "facts.sqlite"


def run_check(arguments: argparse.Namespace) -> None:
    """Check, write the files, print what matters. Raises UserError where there are problems."""
    source, out = _source(arguments), arguments.out
    suite = load_suite(arguments.suite) if arguments.suite else None
    if suite is not None and source.layout is None:
        source = replace(source, layout=suite.layout)
    report = _checked(source, out, arguments.workers)
    if suite is not None:
        report.problems.extend(differences(report, suite, arguments.suite))
    _write_report(report, source, out)
    console = Console()
    console.print_json(json.dumps(report.statistics.summary() | {"near-duplicates within a split": report.near_within}))
    if not report.problems:
        console.print(f"No problem in {len(report.seen):,} rows. Look at {out / 'sheet.png'}", highlight=False)
        return
    for problem in report.problems[:SENTENCES_SHOWN]:
        console.print(str(problem), highlight=False, markup=False, soft_wrap=True)
    kinds = ", ".join(f"{kind} {count}" for kind, count in report.counts.most_common())
    raise UserError(f"{len(report.problems):,} problems: {kinds}. All are in {out / 'problems.jsonl'}")


def run_convert(arguments: argparse.Namespace) -> None:
    """Convert, and say how many rows were written."""
    source = _source(arguments)
    with _progress("converting", None) as advance:
        count = write_parquet(rows_only(source.rows()), arguments.out, images=arguments.images, key=repr(source),
                              on_progress=advance)  # fmt: skip
    print(f"{count:,} rows: {arguments.out}")


def run_corrupt(arguments: argparse.Namespace) -> None:
    """Write the corrupted copies, and say how many."""
    source = _source(arguments)
    with _progress("corrupting", None) as advance:
        copies = corrupted_copies(rows_only(source.rows()), arguments.workers)
        count = write_parquet(copies, arguments.out, key=f"corrupted {source!r}", on_progress=advance)
    print(f"{count:,} copies: {arguments.out}\nTrain on both files: data=[{source.name}, {arguments.out}]")


def run_split(arguments: argparse.Namespace) -> None:
    """Check, share out, write the rows and the record."""
    from emocaliber.data.split import assign  # scikit-learn takes longer to load than a small check to run

    source, out = _source(arguments), arguments.out
    shares = _shares(arguments.shares)
    work = out.with_name(f"{out.name}.facts")
    report = _checked(source, work, arguments.workers)
    assignment = assign(report, shares, arguments.seed, keep_test=arguments.keep_test)
    record = {"source": source.name} | assignment.record
    key = repr((source, shares, arguments.seed, arguments.keep_test))
    with _progress("writing", len(report.seen)) as advance:
        rows = assignment.apply(rows_only(source.rows()))
        write_parquet(rows, out, key=key, metadata={"emocaliber.split": json.dumps(record)}, on_progress=advance)
    out.with_name(f"{out.name}.split.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    discard(work, f"{FACTS}*")
    sizes = ", ".join(f"{split} {sum(labels.values()):,}" for split, labels in record["rows"].items())
    print(f"{sizes}: {out}")


def _source(arguments: argparse.Namespace) -> Source:
    taxonomy = TAXONOMIES[arguments.taxonomy] if arguments.taxonomy else None
    return Source(
        arguments.source, arguments.layout, arguments.root, taxonomy, arguments.task, arguments.in_split,
        arguments.licence, arguments.majority, arguments.labels,
    )  # fmt: skip


def _shares(text: str) -> tuple[int, ...]:
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UserError(f"--shares: {text!r} is not three whole numbers such as 3:1:1")
    return tuple(int(part) for part in parts)


def _checked(source: Source, folder: Path, workers: int) -> Report:
    """The report, with progress; what was found out is kept in the folder."""
    total = sum(1 for _ in source.rows())
    with FactStore(folder / FACTS) as store, _progress("checking", total) as advance:
        return check(source.rows(), store, workers, advance)


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _write_report(report: Report, source: Source, out: Path) -> None:
    summary = {
        "source": source.name,
        "problems": dict(report.counts),
        "near-duplicates within a split": report.near_within,
    } | report.statistics.summary()
    (out / "report.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = (json.dumps(asdict(problem), ensure_ascii=False) + "\n" for problem in report.problems)
    (out / "problems.jsonl").write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
    shown = [(one, described(one)) for label in sorted(report.shown) for one in report.shown[label]]
    sheet(shown).save(out / "sheet.png")
    (out / "overlaps.png").unlink(missing_ok=True)
    if report.pairs:
        sheet(_pair_cells(report, source), columns=4).save(out / "overlaps.png")


def _pair_cells(report: Report, source: Source) -> Iterator[tuple[Sample, tuple[str, ...]]]:
    """The rows of the first overlaps, side by side. Their pictures are read again."""
    pairs = report.pairs[:PAIRS_SHOWN]
    wanted = {i for pair in pairs for i in pair}
    rows = (one for one in source.rows() if isinstance(one, Row))
    samples = {i: row.sample for i, row in enumerate(rows) if i in wanted}
    for pair in pairs:
        for i in pair:
            yield samples[i], (f"{samples[i].split}: {samples[i].label}", samples[i].id)


ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "check": run_check,
    "convert": run_convert,
    "split": run_split,
    "corrupt": run_corrupt,
}
