"""The actions of `emocaliber data`: check, convert, split and corrupt, with progress and output files.

emocaliber data check photos --out out/check
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.hub import push, signed_in
from emocaliber.core.outputs import CARD
from emocaliber.core.samples import ImageSource
from emocaliber.core.taxonomy import TAXONOMIES
from emocaliber.data.card import dataset_card, licences_of, refuse_unshareable, write_repository
from emocaliber.data.check import PAIRS_SHOWN, Report, check
from emocaliber.data.convert import Images, write_parquet
from emocaliber.data.corruption import corrupted_copies
from emocaliber.data.facts import FactStore, carry_over, picture_key
from emocaliber.data.findings import described, differences, findings_page, sheet
from emocaliber.data.layouts import HUB, Source
from emocaliber.data.parquet_parts import stored_rows
from emocaliber.data.policy import Dropping, Policy
from emocaliber.data.rows import Row, rows_only
from emocaliber.data.votes import answers
from emocaliber.evaluation.suite import load_suite

SENTENCES_SHOWN = 20


def run_check(arguments: argparse.Namespace) -> None:
    """Check, write the report files, print a summary. Raises UserError if problems remain that are not dropped."""
    source, out, policy = _source(arguments), arguments.out, _policy(arguments)
    suite = load_suite(arguments.suite) if arguments.suite else None
    if suite is not None and source.layout is None:
        source = replace(source, layout=suite.layout)
    report = _checked(source, arguments.workers)
    disagreements = list(differences(report, suite, arguments.suite)) if suite is not None else []
    report.problems.extend(disagreements)
    out.mkdir(parents=True, exist_ok=True)
    root = "" if source.name.startswith(HUB) else str(source.data_root())
    page = findings_page(report, source.title, _split_command(arguments), root)
    (out / "findings.md").write_text(page, encoding="utf-8", errors="backslashreplace")
    _write_report(report, source, out)
    console = Console()
    console.print_json(json.dumps(report.statistics.summary() | {"near-duplicates within a split": report.near_within}))
    for problem in report.problems[:SENTENCES_SHOWN]:
        console.print(str(problem), highlight=False, markup=False, soft_wrap=True)
    if report.problems or report.notes:
        console.print(f"\n{page}", highlight=False, markup=False, soft_wrap=True)
    if not report.problems:
        console.print(f"No problem in {len(report.seen):,} rows. Look at {out / 'sheet.png'}", highlight=False)
    elif policy.drop and not disagreements:
        print(_write_dropped(report, report.dropping(policy), out / "dropped.jsonl"))
    else:
        kinds = ", ".join(f"{kind} {count}" for kind, count in report.counts.most_common())
        raise UserError(f"{len(report.problems):,} problems: {kinds}. All are in {out / 'problems.jsonl'}")


def run_convert(arguments: argparse.Namespace) -> None:
    """Convert, write the card beside the file, print the number of rows, and upload if `--push` was given."""
    source, policy = _source(arguments), _policy(arguments)
    if arguments.push:
        _refuse_push(arguments)
    dropping, key = Dropping(), repr(source)
    if policy.drop or source.two_panels:
        report = _checked(source, arguments.workers)
        dropping = report.dropping(policy, two_panels=source.two_panels)
        key = repr((source, sorted(dropping.rows)))
        print(_write_dropped(report, dropping, _dropped_file(arguments.out)))
    with _progress("converting", None) as advance:
        rows = _remaining(source, policy, dropping)
        count = _write(rows, arguments.out, key, advance, images=arguments.images)
    out: Path = arguments.out
    card = partial(dataset_card, out, out.name.partition(".")[0], (source.name, *source.more), dropping.counts)
    card_file = out.with_name(f"{out.name}{CARD}")
    write_atomically(card_file, [card().encode()])
    print(f"{count:,} rows: {out}; their card: {card_file}")
    if arguments.push:
        _push(arguments, card(by_split=True))


def _refuse_push(arguments: argparse.Namespace) -> None:
    """Raises UserError, before any work, if options conflict or no Hub token is found."""
    if arguments.images == "paths":
        raise UserError("--push sends the pictures within the file: leave --images paths out")
    if arguments.public and arguments.push_without_licence:
        raise UserError("--push-without-licence is for a private repository: leave it or --public out")
    signed_in(arguments.push)


def _push(arguments: argparse.Namespace, card: str) -> None:
    if not arguments.push_without_licence:
        refuse_unshareable(licences_of(arguments.out))
    with TemporaryDirectory(prefix=f".{arguments.out.name}.", dir=arguments.out.parent) as folder:
        write_repository(arguments.out, card, Path(folder))
        address = push(Path(folder), arguments.push, "dataset", public=arguments.public)
    print(f"Uploaded: {address}")


def run_corrupt(arguments: argparse.Namespace) -> None:
    """Write the corrupted copies, and print their number."""
    source = _source(arguments)
    with _progress("corrupting", None) as advance:
        copies = corrupted_copies(rows_only(source.rows()), arguments.workers)
        count = write_parquet(copies, arguments.out, key=f"corrupted {source!r}", on_progress=advance)
    print(f"{count:,} copies: {arguments.out}\nTrain on both files: data=[{source.title}, {arguments.out}]")


def run_split(arguments: argparse.Namespace) -> None:
    """Check, assign rows to splits, write the rows and the record."""
    from emocaliber.data.split import assign, refuse_faults  # scikit-learn takes longer to load than a check to run

    source, out, policy = _source(arguments), arguments.out, _policy(arguments)
    shares = _shares(arguments.shares)
    report, dropping = _checked(source, arguments.workers), Dropping()
    if not policy.drop:
        refuse_faults(report)
    if policy.drop or source.two_panels:
        dropping = report.dropping(policy, overlaps=False, two_panels=source.two_panels)
        print(_write_dropped(report, dropping, _dropped_file(out)))
    assignment = assign(report, shares, arguments.seed, keep_test=arguments.keep_test, without=dropping.rows)
    record = {"source": source.title} | assignment.record
    if dropping.rows or dropping.unread:
        record["dropped"] = dict(dropping.counts)
    key = repr((source, shares, arguments.seed, arguments.keep_test, sorted(dropping.rows)))
    with _progress("writing", len(report.seen) - len(dropping.rows)) as advance:
        rows = assignment.apply(_remaining(source, policy, dropping))
        _write(rows, out, key, advance, metadata={"emocaliber.split": json.dumps(record)})
    out.with_name(f"{out.name}.split.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    sizes = ", ".join(f"{split} {sum(labels.values()):,}" for split, labels in record["rows"].items())
    print(f"{sizes}: {out}")


def _source(arguments: argparse.Namespace) -> Source:
    taxonomy = TAXONOMIES[arguments.taxonomy] if arguments.taxonomy else None
    return Source(
        arguments.source[0], arguments.layout, arguments.root, taxonomy, arguments.task, arguments.in_split,
        arguments.licence, arguments.majority, arguments.labels, getattr(arguments, "two_panels", False),
        tuple(arguments.source[1:]),
    )  # fmt: skip


def _policy(arguments: argparse.Namespace) -> Policy:
    return Policy(arguments.drop_problems, arguments.max_dropped)


def _split_command(arguments: argparse.Namespace) -> str:
    """The `data split` command for this source, for the user to copy."""
    parts = ["emocaliber", "data", "split", *arguments.source]
    for name in ("layout", "root", "taxonomy", "labels", "task", "in_split", "licence", "majority"):
        if value := getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            parts += [option] if value is True else [option, str(value)]
    name = Path(arguments.source[0]).name.partition(".")[0] or "data"
    return shlex.join([*parts, "--keep-test", "--drop-problems", "--out", f"{name}-split.parquet"])


def _shares(text: str) -> tuple[int, ...]:
    parts = text.split(":")
    if len(parts) not in (3, 4) or not all(part.isascii() and part.isdigit() for part in parts):
        raise UserError(f"--shares: {text!r} is not three or four whole numbers such as 3:1:1 or 3:1:1:1")
    return tuple(int(part) for part in parts)


def _checked(source: Source, workers: int) -> Report:
    """The report, with progress; image facts are cached (see facts)."""
    with FactStore() as store, _progress("checking", None) as advance:
        return check(source.rows(), store, workers, advance)


def _remaining(source: Source, policy: Policy, dropping: Dropping) -> Iterator[Row]:
    """The rows that are kept, with the votes of second panels. Raises UserError at a problem unless problems are
    dropped."""
    wanted = set(dropping.second_panels.values())
    panels = (
        {i: answers(row.sample) for i, row in enumerate(_readable(source, policy)) if i in wanted} if wanted else {}
    )
    for i, row in enumerate(_readable(source, policy)):
        if i in dropping.second_panels:
            yield replace(row, sample=replace(row.sample, second_votes=panels[dropping.second_panels[i]]))
        elif i not in dropping.rows:
            yield row


def _readable(source: Source, policy: Policy) -> Iterator[Row]:
    return (e for e in source.rows() if isinstance(e, Row)) if policy.drop else rows_only(source.rows())


def _write(
    rows: Iterator[Row], out: Path, key: str, advance: Callable[[int], None], *, images: Images = "bytes",
    metadata: dict[str, str] | None = None,
) -> int:  # fmt: skip
    """Write the rows, and cache the facts of their images for the new file too, so that training need not decode
    them again."""
    keys: list[str | None] = []

    def noted() -> Iterator[Row]:
        for row in rows:
            keys.append(picture_key(row.sample.image))
            yield row

    count = write_parquet(noted(), out, images=images, key=key, metadata=metadata, on_progress=advance)
    if images == "bytes":
        written: list[ImageSource] = [row["image"] for _, row in stored_rows(out, ["image"])]
        with FactStore() as store:
            carry_over(store, keys, written)
    return count


def _dropped_file(out: Path) -> Path:
    return out.with_name(f"{out.name}.dropped.jsonl")


def _write_dropped(report: Report, dropping: Dropping, path: Path) -> str:
    """Write the list of dropped rows; returns a sentence about it."""
    dropping.write(path)
    return dropping.sentence(len(report.seen), path)


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _write_report(report: Report, source: Source, out: Path) -> None:
    summary = {
        "source": source.title,
        "problems": dict(report.counts),
        "notes": [str(note) for note in report.notes],
        "near-duplicates within a split": report.near_within,
    } | report.statistics.summary()
    (out / "report.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = (json.dumps(asdict(problem), ensure_ascii=False) + "\n" for problem in report.problems)
    (out / "problems.jsonl").write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
    shown = [(sample.image, described(sample)) for label in sorted(report.shown) for sample in report.shown[label]]
    sheet(shown).save(out / "sheet.png")
    (out / "overlaps.png").unlink(missing_ok=True)
    if report.leaks:
        sheet(_pair_cells(report, source), columns=4).save(out / "overlaps.png")


def _pair_cells(report: Report, source: Source) -> Iterator[tuple[ImageSource, tuple[str, ...]]]:
    """The rows of the first overlaps, side by side. Images that came as bytes are read from the source again."""
    shown = [i for leak in report.leaks[:PAIRS_SHOWN] for i in (leak.first, leak.second)]
    images = {i: report.seen[i].image for i in shown}
    if None in images.values():
        rows = (entry for entry in source.rows() if isinstance(entry, Row))
        images |= {i: row.sample.image for i, row in enumerate(rows) if i in images}
    for i in shown:
        seen = report.seen[i]
        yield images[i] or b"", (f"{seen.split}: {seen.label}", seen.id)


ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "check": run_check,
    "convert": run_convert,
    "split": run_split,
    "corrupt": run_corrupt,
}
