"""WebDataset: files with the same name and different extensions form a record: `000017.jpg`, `000017.cls`,
`000017.json`.

Such sets are published as tar files (see archives). The name ends at the first dot. `.json` holds the keys of a record
(see records), `.cls` the label or its class number; other extensions are ignored.

    emocaliber data check train-0000.tar --labels joy,fear
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from emocaliber.data.csv_files import Record, open_text
from emocaliber.data.folders import ENDINGS, files_below
from emocaliber.data.json_files import read_json
from emocaliber.data.records import read_record
from emocaliber.data.rows import Defaults, Entry, Place, Problem
from emocaliber.data.tables import gather_labels

CLASS, VALUES = ".cls", ".json"
LARGEST = 1_000_000  # bytes of a record's values


def holds_records(folder: Path) -> bool:
    """Whether the folder's first image has a `.cls` or `.json` file beside it."""
    pictures = (path for path in files_below(folder, Counter()) if path.name.casefold().endswith(ENDINGS))
    first = next(pictures, None)
    return first is not None and any(_beside(first, ending).is_file() for ending in (CLASS, VALUES))


def read_webdataset(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """A row for each image."""
    if not defaults.labels:
        labels, entries = gather_labels(Place(str(root)), _records(root))
        yield from entries
        defaults = replace(defaults, candidates=labels)
    for record in _records(root):
        if isinstance(record, Problem):
            yield record
        else:
            yield from read_record(*record, defaults, record[1]["image"])


def _records(root: Path) -> Iterator[Record | Problem]:
    for path in files_below(root, Counter()):
        if path.name.casefold().endswith(ENDINGS):
            yield _record(root, path)


def _record(root: Path, path: Path) -> Record | Problem:
    values: dict[str, Any] = {}
    place, described, named = Place(str(path)), _beside(path, VALUES), _beside(path, CLASS)
    if described.is_file():
        try:
            content = read_json(described)
        except (ValueError, RecursionError) as error:
            return Problem("not JSON", Place(str(described)), "", f"not JSON ({error})", "write one object")
        if not isinstance(content, dict):
            return Problem("not an object", Place(str(described)), "", "it is not an object", "write {...}")
        values |= content
    if named.is_file():
        with open_text(named) as file:
            values["label"] = file.read(LARGEST).strip()
    return place, values | {"image": path.relative_to(root).as_posix()}


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name.partition(".")[0] + ending)
