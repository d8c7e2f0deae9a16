"""Layouts of published data sets: EmoSet, WEBEmo, ArtPhoto, Abstract, Emotion6 and FER+.

The images must be obtained from the data sets' owners. Each loader reads its release as is and reports oddities in
notes:

    emoset     train.json, val.json, test.json: [[emotion, image, annotation], ...]; image/EMOTION/*.jpg
    webemo     train25.txt, test25.txt, ...: one `path label` per line (reconstruction; the release was not available)
    artphoto   EMOTION_0001.jpg, all in one folder
    abstract   ABSTRACT_groundTruth.csv: counts of raters for each of eight emotions, quoted with '
    emotion6   ground_truth.txt: shares of 15 raters who may split a vote; images/EMOTION/*.jpg
    ferplus    fer2013new.csv: ten raters' votes; FER2013Train, FER2013Valid and FER2013Test hold the pictures, and the
               votes for each file in a label.csv: fer2013new.csv gives identical pictures the votes of one of them
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from emocaliber.core.samples import Ratings, Sample
from emocaliber.core.taxonomy import SENTIMENT_2, WEBEMO_25
from emocaliber.data.csv_files import count_in, open_text
from emocaliber.data.folders import ENDINGS
from emocaliber.data.json_files import read_json
from emocaliber.data.records import read_record
from emocaliber.data.rows import Defaults, Entry, Note, Place, Problem, Row
from emocaliber.data.tables import records

ABSTRACT_FILE = "ABSTRACT_groundTruth.csv"
EMOTION6_FILE = "ground_truth.txt"
EMOTION6_VOTES = 30
"""15 raters whose votes may be halved."""
FERPLUS_FILE = "fer2013new.csv"
FERPLUS_FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
FERPLUS_OTHERS = ("unknown", "NF")
FERPLUS_VOTES = "label.csv"
WEBEMO_LIST = re.compile(r"(train|val|test)(\d+)\.txt")
WEBEMO_TAXONOMIES = {"2": SENTIMENT_2, "25": WEBEMO_25}
"""By the number of classes; the names of the seven classes were not available and are taken from the data."""


def read_emoset(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """EmoSet-118K by its three lists. The annotation files beside the images are not read."""
    for split in ("train", "val", "test"):
        path = root / f"{split}.json"
        for place, item in _items(path) if path.exists() else ():
            if not (isinstance(item, list) and len(item) >= 2 and all(isinstance(part, str) for part in item)):
                yield Problem("entry malformed", place, "", f"{str(item)[:60]!r} is not [emotion, image, annotation]",
                              "take it from the release")  # fmt: skip
                continue
            values = {"label": item[0], "image": item[1], "split": split}
            yield from read_record(place, values, defaults, item[1])


def _items(path: Path) -> Iterator[tuple[Place, Any]]:
    try:
        content = read_json(path)
    except (ValueError, RecursionError) as error:
        content = [f"not JSON ({error})"]
    for number, item in enumerate(content if isinstance(content, list) else [content], start=1):
        yield Place(str(path), number, "item"), item


def read_webemo(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """WEBEmo's lists. A label that is a number needs a classes.txt, for no order of the names is certain."""
    lists = sorted(path for path in root.iterdir() if WEBEMO_LIST.fullmatch(path.name))
    classes = root / "classes.txt"
    names = _text(classes).split() if classes.exists() else []
    for path in lists:
        split, count = WEBEMO_LIST.fullmatch(path.name).groups()  # type: ignore[union-attr]
        lines = _text(path).splitlines()
        named = {line.rpartition(" ")[2] for line in lines if not line.strip().rpartition(" ")[2].isdecimal()}
        of_list = replace(defaults, task=f"WebEmo-{count}", split=split, taxonomy=WEBEMO_TAXONOMIES.get(count),
                          candidates=tuple(names or sorted(named)))  # fmt: skip
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield from _webemo_row(Place(str(path), number), line, names, of_list)


def _text(path: Path) -> str:
    with open_text(path) as file:
        return file.read().encode(errors="surrogateescape").decode(errors="replace")


def _webemo_row(place: Place, line: str, names: list[str], defaults: Defaults) -> Iterator[Entry]:
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
    # The lists of 2, 7 and 25 classes share their pictures: one picture is one cluster, whatever is asked about it.
    values = {"image": image, "label": label, "cluster": image}
    yield from read_record(place, values, defaults, f"{defaults.task}/{image}")


def read_artphoto(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """ArtPhoto by the names of its files."""
    for path in sorted(root.iterdir()):
        if path.name.casefold().endswith(ENDINGS) and not path.name.startswith("."):
            label = path.name.rpartition("_")[0]
            values = {"image": path.name, "label": label or path.name}
            yield from read_record(Place(str(path)), values, defaults, path.name)


def read_abstract(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """Abstract with its raters' counts; a tie stays without a label (the paper's 229 of 280 paintings have one)."""
    path = root / ABSTRACT_FILE
    with open_text(path) as file:
        rows = csv.reader(file, quotechar="'")
        header = [name.strip() for name in next(rows, [])]
        for row in rows:
            place = Place(str(path), rows.line_num)
            if len(row) != len(header):
                yield Problem("wrong number of fields", place, "", f"{len(row)} fields, {len(header)} in the header",
                              "take the line from the release")  # fmt: skip
                continue
            votes = {name: count_in(cell) for name, cell in zip(header[1:], row[1:], strict=True)}
            yield from read_record(place, {"image": row[0].strip(), "votes": votes}, defaults, row[0].strip())


def read_emotion6(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """Emotion6 by its shares, as counts of half votes (30 a picture); valence and arousal are not read.

    A picture whose shares are no thirtieths gets the nearest counts, which is noted. The set has no splits of its own.
    """
    path, rounded = root / EMOTION6_FILE, 0
    with open_text(path) as file:
        header = [name.strip().strip("[]").removeprefix("prob. ") for name in file.readline().split("\t")]
        for number, line in enumerate(file, start=2):
            place, fields = Place(str(path), number), line.split()
            if not fields:
                continue
            try:
                shares = dict(zip(header[3:], map(float, fields[3:]), strict=True))
            except ValueError:
                yield Problem("entry malformed", place, "", f"{line.strip()[:60]!r} is not a name and {len(header) - 1}"
                              " numbers", "take it from the release")  # fmt: skip
                continue
            votes = {label: round(share * EMOTION6_VOTES) for label, share in shares.items()}
            rounded += any(abs(share - votes[label] / EMOTION6_VOTES) > 0.002 for label, share in shares.items())
            image = f"images/{fields[0]}"
            yield from read_record(place, {"image": image, "votes": votes}, defaults, fields[0])
    if rounded:
        yield Note("shares rounded to half votes", Place(str(path)), f"the shares of {rounded:,} pictures are no whole"
                   f" numbers of {EMOTION6_VOTES} half votes; the nearest are read", rounded)  # fmt: skip


def read_ferplus(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """FER+. A face has no label if `unknown` or `NF` (no face) received at least as many votes as the leading emotion.
    Those votes count in the number of raters but belong to no candidate; without any vote for an emotion, the face has
    no votes.

    In the release, some lines have no image name (removed by the authors), and some names appear twice: with equal
    votes they are read as one face; with different votes the face gets no label, because it is unknown which line is
    right.
    """
    if defaults.two_panels:
        yield from _ferplus_by_file(root, defaults)
        return
    places: defaultdict[tuple[object, object], list[tuple[Place, dict[str, int]]]] = defaultdict(list)
    nameless = 0
    for record in records(root / FERPLUS_FILE):
        if isinstance(record, Problem):
            yield record
        elif not record[1].get("Image name"):
            nameless += 1
        else:
            counts = _ferplus_counts(*record, defaults)
            if isinstance(counts, Problem):
                yield counts
            else:
                places[record[1]["Usage"], record[1]["Image name"]].append((record[0], counts))
    if nameless:
        yield Note("rows without a name", Place(str(root / FERPLUS_FILE)), f"{nameless:,} rows name no picture: removed"
                   " by the release, and left out", nameless)  # fmt: skip
    for (usage, name), lines in places.items():
        yield from _ferplus_face(f"{FERPLUS_FOLDERS[str(usage)]}/{name}", str(usage), lines, defaults)


def _ferplus_by_file(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """The faces by the label.csv beside them, which has no header: name, box, and votes in fer2013new.csv's order."""
    for usage, folder in FERPLUS_FOLDERS.items():
        path = root / folder / FERPLUS_VOTES
        if not path.is_file():
            yield Problem("votes by file missing", Place(str(path)), "", "the votes for each file are not there",
                          "take it from the release, or leave --two-panels out", droppable=False)  # fmt: skip
            continue
        with open_text(path) as file:
            rows = csv.reader(file)
            for row in rows:
                place = Place(str(path), rows.line_num)
                named = dict(zip((*defaults.labels, *FERPLUS_OTHERS), row[2:], strict=False)) | {"Usage": usage}
                counts = _ferplus_counts(place, named, defaults)
                if isinstance(counts, Problem):
                    yield counts
                else:
                    yield from _ferplus_face(f"{folder}/{row[0]}", usage, [(place, counts)], defaults)


def _ferplus_counts(place: Place, values: Any, defaults: Defaults) -> dict[str, int] | Problem:
    if values.get("Usage") not in FERPLUS_FOLDERS:
        return Problem("unknown split", place, "Usage", f"{values.get('Usage')!r} is no part of FER",
                       "take it from the release")  # fmt: skip
    counts = {label: count_in(str(values.get(label, ""))) for label in (*defaults.labels, *FERPLUS_OTHERS)}
    if wrong := next((label for label, count in counts.items() if isinstance(count, str)), None):
        return Problem("votes malformed", place, wrong, f"{counts[wrong]!r} is no number of raters",
                       "a count is a whole number, 0 or more")  # fmt: skip
    return {label: int(count) for label, count in counts.items()}


def _ferplus_face(
    image: str, usage: str, lines: list[tuple[Place, dict[str, int]]], defaults: Defaults
) -> Iterator[Entry]:
    place, counts = lines[0]
    repeated = ", ".join(str(line.line) for line, _ in lines)
    conflict = any(other != counts for _, other in lines[1:])
    if conflict:
        yield Note("name twice with other votes", place, f"{image} stands in lines {repeated} with different votes:"
                   " read as a face without a label")  # fmt: skip
    elif len(lines) > 1:
        yield Note("name twice with the same votes", place, f"{image} stands in lines {repeated}: read once")
    votes = {label: counts[label] for label in defaults.labels}
    if unvoted := not any(votes.values()):
        yield Note("no vote for an emotion", place, f"{image} has votes for {' and '.join(FERPLUS_OTHERS)} alone: read"
                   " as a face without a label")  # fmt: skip
    values: dict[str, Any] = {"image": image, "split": usage}
    unlabelled = {"label_rule": defaults.rule} if unvoted or conflict else {"votes": votes}
    for entry in read_record(place, values | unlabelled, defaults, image):
        yield Row(place, _with_others(entry.sample, counts)) if isinstance(entry, Row) else entry


def _with_others(sample: Sample, counts: dict[str, int]) -> Sample:
    others = max(counts[label] for label in FERPLUS_OTHERS)
    beaten = others < max((sample.votes or {"": 0}).values())
    ratings = Ratings("counts", sum(counts.values()))
    return replace(sample, label=sample.label if beaten else None, ratings=ratings)
