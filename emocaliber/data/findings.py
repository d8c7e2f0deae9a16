"""The output of a check: a page of findings, the differences from a suite, and a contact sheet of images.

The page is suitable for the appendix of a paper: each finding, its count, and its remedy.

    emocaliber data check ferplus --out out/check; cat out/check/findings.md
    emocaliber data check DIR --suite eval/suites/emoset.yaml --out out/check
    python scripts/contact_sheet.py emocaliber/data/emoji-sentiment.parquet sheet.png
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from emocaliber import __version__
from emocaliber.core.images import ImageError, load_image
from emocaliber.core.samples import ImageSource, Sample
from emocaliber.data.check import Report
from emocaliber.data.facts import THUMBNAIL
from emocaliber.data.near_duplicates import ALIKE, BITS
from emocaliber.data.rows import Note, Place, Problem
from emocaliber.evaluation.suite import Suite

_BY_SPLIT = "`data split` below"
_REMEDIES = {
    "same picture in two splits": f"{_BY_SPLIT}; --two-panels where each has votes of its own raters",
    "near-duplicate in two splits": _BY_SPLIT,
    "cluster in two splits": _BY_SPLIT,
    "two labels for one picture": f"{_BY_SPLIT} keeps such rows in one split; --drop-problems of check, convert and"
    " train leaves them out; several raters' answers belong in one row, as votes",
    "class number without a name": "`--labels`",
    "split or label?": "renaming the folders, or `--labels`",
}
_DROPPED = "`--drop-problems`, or by hand"
_READ = {
    "rows without a name": "left out, as the release means it",
    "name twice with the same votes": "read once",
    "name twice with other votes": "read without a label; named below",
    "no vote for an emotion": "read without a label; named below",
    "shares rounded to half votes": "the nearest numbers of half votes are read",
    "spellings of one label": "read as one label; named below",
    "columns that are not read": "not read; named below",
    "rationale of another answer": "read without the rationale",
    "label that is not its raters' favourite": "the label is read as given; target=votes learns from the votes",
    "left out": "left out; named below",
}
"""How the reader of a data set took what it noted."""
_PAIRS = ("same picture in two splits", "near-duplicate in two splits", "cluster in two splits")
_NAMED = 12
"""Notes of a kind that the page names one by one."""


def findings_page(report: Report, name: str, split_command: str, root: str = "") -> str:
    """Markdown: the rows by split, a table of findings with counts and remedies, the command to copy, what was compared
    and how, and single notes with their places, relative to `root`, where the data lies."""
    title = ", ".join(Path(part).name or part for part in name.split(", "))
    lines = [f"# Findings in {title}", "", f"{len(report.seen):,} rows read by `emocaliber data check`, version"
             f" {__version__}.{_votes(report)}", "", *_by_split(report), ""]  # fmt: skip
    table = [*_noted(report), *_without_label(report), *_repeated(report), *_problems(report)]
    if not table:
        return "\n".join([*lines, "No findings.", ""])
    lines += ["| finding | count | how it was read, or its remedy |", "|---|---|---|"]
    lines += [f"| {finding} | {count} | {remedy} |" for finding, count, remedy in table]
    if report.leaks:
        lines += ["", "This keeps the test rows as they are published, and makes a new split of all others that shows"
                  f" none of their pictures, identical or nearly:\n\n    {split_command}"]  # fmt: skip
    if report.leaks or report.near:
        lines += ["", f"Identical pictures have equal decoded pixels. Near-duplicates have perceptual hashes (pHash, 64"
                  f" bits) within {BITS} bits, and grey thumbnails of {THUMBNAIL}x{THUMBNAIL} pixels that correlate by"
                  f" {ALIKE} or more; cropped or mirrored copies are missed."]  # fmt: skip
    single = [f"- {str(note).removeprefix(root).lstrip('/')}" for note in _single(report)]
    return "\n".join([*lines, *(["", *single] if single else []), ""])


def _votes(report: Report) -> str:
    """A sentence on the votes, where there are any."""
    if not (votes := report.statistics.summary().get("votes")):
        return ""
    spread = votes["raters"]
    rules = ", ".join(sorted(report.statistics.rules))
    return (
        f" {votes['rows']:,} rows have votes, {spread['lowest']} to {spread['highest']} a row (median"
        f" {spread['median']}); their normalised entropy is {votes['mean normalised entropy']:.3f} on average."
        f" Rule for the label: {rules}."
    )


def _by_split(report: Report) -> Iterator[str]:
    yield "| split | rows | with a label | distinct pictures | rows that overlap with another split |"
    yield "|---|---|---|---|---|"
    involved = {i for leak in report.leaks for i in (leak.first, leak.second)}
    for split in (*report.statistics.splits, "all"):
        rows = [i for i, seen in enumerate(report.seen) if split in ("all", seen.split)]
        labelled = sum(report.seen[i].label is not None for i in rows)
        pictures = len({report.seen[i].facts.pixels for i in rows if report.seen[i].facts.pixels})
        yield f"| {split} | {len(rows):,} | {labelled:,} | {pictures:,} | {len(involved.intersection(rows)):,} |"


def _noted(report: Report) -> list[tuple[str, str, str]]:
    counts: Counter[str] = Counter()
    for note in report.notes:
        counts[note.kind] += note.count
    return [(kind, f"{count:,}", _READ.get(kind, "see report.json")) for kind, count in counts.items()]


def _single(report: Report) -> Iterator[Note]:
    """The notes of kinds that are rare, one by one."""
    kinds = Counter(note.kind for note in report.notes)
    yield from (note for note in report.notes if kinds[note.kind] <= _NAMED)


def _without_label(report: Report) -> Iterator[tuple[str, str, str]]:
    unlabelled = [seen for seen in report.seen if seen.label is None]
    if voted := sum(seen.voted for seen in unlabelled):
        ties = f"; {report.statistics.ties:,} rows' votes tie" if report.statistics.ties else ""
        remedy = "target=votes learns from their votes; `data split` moves them to the splits unlabelled and tied"
        yield (f"rows without a label, with votes{ties}", f"{voted:,}", remedy)
    if len(unlabelled) > voted:
        yield ("rows without a label or votes", f"{len(unlabelled) - voted:,}", "the split unlabelled")


def _repeated(report: Report) -> Iterator[tuple[str, str, str]]:
    """Pictures that come more than once, wherever."""
    times = Counter(seen.facts.pixels for seen in report.seen if seen.facts.pixels)
    repeated = [count for count in times.values() if count > 1]
    if repeated:
        yield ("pictures that come more than once, pixel by pixel", f"{len(repeated):,}, in {sum(repeated):,} rows",
               "no fault within a split; `data split` keeps them together")  # fmt: skip
    if report.near_within:
        yield ("near-duplicates within a split", f"{report.near_within:,} pairs",
               "no fault; `data split` keeps them together")  # fmt: skip


def _problems(report: Report) -> Iterator[tuple[str, str, str]]:
    for kind, count in report.counts.most_common():
        yield (kind, f"{count:,}{' pairs' if kind in _PAIRS else ''}", _REMEDIES.get(kind, _DROPPED))


def differences(report: Report, suite: Suite, path: Path) -> Iterator[Problem]:
    """Problems for every disagreement between the data and the suite."""
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


SHEET_WIDTH = 1500
MARGIN = 6
LINE = 11
CELL = 110
LARGEST = 280
FONT_SIZE = 10

Caption = tuple[str, ...]


def sheet(pictures: Iterable[tuple[ImageSource, Caption]], columns: int | None = None) -> Image.Image:
    """A contact sheet of the images, with `columns` per row (None: as many as fit)."""
    cells = [_cell(image, caption) for image, caption in pictures]
    width = max((cell.width for cell in cells), default=CELL) + MARGIN
    height = max((cell.height for cell in cells), default=CELL) + MARGIN
    columns = columns or max(1, SHEET_WIDTH // width)
    page = Image.new("RGB", (columns * width, max(1, -(-len(cells) // columns)) * height), "white")
    for number, cell in enumerate(cells):
        page.paste(cell, (number % columns * width, number // columns * height))
    return page


def described(sample: Sample) -> Caption:
    """A sample's label and votes, and its id."""
    votes = " " + "/".join(str(count) for count in sample.votes.values()) if sample.votes else ""
    return (sample.label or "no label") + votes, sample.id.removeprefix(f"{sample.task}-")


def _cell(image: ImageSource, caption: Caption) -> Image.Image:
    """An image in a thin frame with its caption below; an unreadable image is a crossed box."""
    picture = _picture(image)
    frame = Image.new("RGB", (max(picture.width + 2, CELL), picture.height + 4 + LINE * len(caption)), "white")
    frame.paste("lightgrey", (0, 0, picture.width + 2, picture.height + 2))
    frame.paste(picture, (1, 1))
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(FONT_SIZE)
    for number, line in enumerate(caption):
        draw.text((1, picture.height + 2 + LINE * number), line, fill="dimgrey" if number else "black", font=font)
    return frame


def _picture(image: ImageSource) -> Image.Image:
    try:
        picture = load_image(image)
    except ImageError:
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).line((0, 0, 63, 63), fill="red")
    picture.thumbnail((LARGEST, LARGEST))
    return picture
