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
from emocaliber.data.rows import Place, Problem
from emocaliber.evaluation.suite import Suite

_BY_SPLIT = "`data split` below"
_REMEDIES = {
    "same picture in two splits": f"{_BY_SPLIT}; --two-panels where each has votes of its own raters",
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
        return "\n".join([*lines, "No findings.", ""])
    lines += ["| finding | count | remedy |", "|---|---|---|"]
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
