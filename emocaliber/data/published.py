"""Layouts of one published data set each: EmoSet, WEBEmo, ArtPhoto, Abstract, FER+.

Not their pictures, which their owners give out. Each loader reads what the release holds, and nothing around it:

    emoset     train.json, val.json, test.json: [[emotion, image, annotation], ...]; image/EMOTION/*.jpg
    webemo     train25.txt, test25.txt, ...: one `path label` a line (reconstruction; the release was not at hand)
    artphoto   EMOTION_0001.jpg, all in one folder
    abstract   ABSTRACT_groundTruth.csv: counts of raters for each of eight emotions, quoted with '
    ferplus    fer2013new.csv: ten raters' votes; FER2013Train, FER2013Valid and FER2013Test hold the pictures
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.core.samples import Ratings, Sample
from emocaliber.core.taxonomy import SENTIMENT_2, WEBEMO_25
from emocaliber.data.folders import ENDINGS
from emocaliber.data.records import Given, read_record
from emocaliber.data.rows import Found, Place, Problem, Row
from emocaliber.data.tables import Record, records

ABSTRACT_FILE = "ABSTRACT_groundTruth.csv"
FERPLUS_FILE = "fer2013new.csv"
FERPLUS_FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
FERPLUS_OTHERS = ("unknown", "NF")
WEBEMO_LIST = re.compile(r"(train|val|test)(\d+)\.txt")
WEBEMO_TAXONOMIES = {"2": SENTIMENT_2, "25": WEBEMO_25}
"""By the number of classes; the seven classes between were not at hand, and are taken from the data."""


def read_emoset(root: Path, given: Given) -> Iterator[Found]:
    """EmoSet-118K by its three lists. The annotation files beside the images are not read."""
    for split in ("train", "val", "test"):
        path = root / f"{split}.json"
        for place, item in _items(path) if path.exists() else ():
            if not (isinstance(item, list) and len(item) >= 2 and all(isinstance(part, str) for part in item)):
                yield Problem("entry malformed", place, "", f"{str(item)[:60]!r} is not [emotion, image, annotation]",
                              "take it from the release")  # fmt: skip
                continue
            values = {"label": item[0], "image": item[1], "split": split}
            yield from read_record(place, values, given, item[1])


def _items(path: Path) -> Iterator[tuple[Place, Any]]:
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        content = [f"not JSON ({error})"]
    for number, item in enumerate(content if isinstance(content, list) else [content], start=1):
        yield Place(str(path), number, "item"), item


def read_webemo(root: Path, given: Given) -> Iterator[Found]:
    """WEBEmo's lists. A label that is a number needs a classes.txt, for no order of the names is certain."""
    lists = sorted(path for path in root.iterdir() if WEBEMO_LIST.fullmatch(path.name))
    classes = root / "classes.txt"
    names = classes.read_text(encoding="utf-8").split() if classes.exists() else []
    for path in lists:
        split, count = WEBEMO_LIST.fullmatch(path.name).groups()  # type: ignore[union-attr]
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found = {line.rpartition(" ")[2] for line in lines if not line.strip().rpartition(" ")[2].isdecimal()}
        of_list = replace(given, task=f"WebEmo-{count}", split=split, taxonomy=WEBEMO_TAXONOMIES.get(count),
                          candidates=tuple(names or sorted(found)))  # fmt: skip
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield from _webemo_row(Place(str(path), number), line, names, of_list)


def _webemo_row(place: Place, line: str, names: list[str], given: Given) -> Iterator[Found]:
    image, _, label = line.strip().rpartition(" ")
    if not image:
        yield Problem("entry malformed", place, "", f"{line[:60]!r} is not `path label`", "write both")
        return
    if label.isdecimal():
        if int(label) >= len(names):
            yield Problem("label not among candidates", place, "label", f"{label} is the number of no class",
                          "put the class names beside the lists, as classes.txt, one a line")  # fmt: skip
            return
        label = names[int(label)]
    yield from read_record(place, {"image": image, "label": label}, given, f"{given.task}/{image}")


def read_artphoto(root: Path, given: Given) -> Iterator[Found]:
    """ArtPhoto by the names of its files."""
    for path in sorted(root.iterdir()):
        if path.name.casefold().endswith(ENDINGS) and not path.name.startswith("."):
            label = path.name.rpartition("_")[0]
            values = {"image": path.name, "label": label or path.name}
            yield from read_record(Place(str(path)), values, given, path.name)


def read_abstract(root: Path, given: Given) -> Iterator[Found]:
    """Abstract with its raters' counts; a tie stays without a label (the paper's 229 of 280 paintings have one)."""
    path = root / ABSTRACT_FILE
    with path.open(encoding="utf-8", newline="", errors="replace") as file:
        rows = csv.reader(file, quotechar="'")
        header = [name.strip() for name in next(rows, [])]
        for row in rows:
            place = Place(str(path), rows.line_num)
            if len(row) != len(header):
                yield Problem("wrong number of fields", place, "", f"{len(row)} fields, {len(header)} in the header",
                              "take the line from the release")  # fmt: skip
                continue
            votes = {name: _count(cell) for name, cell in zip(header[1:], row[1:], strict=True)}
            yield from read_record(place, {"image": row[0].strip(), "votes": votes}, given, row[0].strip())


def _count(cell: str) -> int | str:
    return int(cell) if cell.strip().isascii() and cell.strip().isdigit() else cell


def read_ferplus(root: Path, given: Given) -> Iterator[Found]:
    """FER+. A face for which `unknown` or `NF` (no face) got as many votes as any emotion has no label; the number of
    raters keeps those votes, which no candidate holds. Lines without a picture's name are the release's own removals.
    """
    for one in records(root / FERPLUS_FILE):
        if isinstance(one, Problem):
            yield one
        elif one[1].get("Image name"):
            yield from _ferplus_row(one, given)


def _ferplus_row(record: Record, given: Given) -> Iterator[Found]:
    place, values = record
    usage, name = values.get("Usage"), values["Image name"]
    if usage not in FERPLUS_FOLDERS:
        yield Problem("unknown split", place, "Usage", f"{usage!r} is no part of FER", "take it from the release")
        return
    counts = {label: _count(str(values.get(label, ""))) for label in (*given.labels, *FERPLUS_OTHERS)}
    if wrong := next((label for label, count in counts.items() if isinstance(count, str)), None):
        yield Problem("votes malformed", place, wrong, f"{counts[wrong]!r} is no number of raters",
                      "a count is a whole number, 0 or more")  # fmt: skip
        return
    whole = {label: int(count) for label, count in counts.items()}
    votes = {label: whole[label] for label in given.labels}
    image = f"{FERPLUS_FOLDERS[usage]}/{name}"
    for one in read_record(place, {"image": image, "votes": votes, "split": usage}, given, image):
        yield one if isinstance(one, Problem) else Row(place, _with_others(one.sample, whole))


def _with_others(sample: Sample, counts: dict[str, int]) -> Sample:
    others = max(counts[label] for label in FERPLUS_OTHERS)
    beaten = others < max((sample.votes or {"": 0}).values())
    ratings = Ratings("counts", sum(counts.values()))
    return replace(sample, label=sample.label if beaten else None, ratings=ratings)
