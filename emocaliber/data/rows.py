"""What a reader of any layout is told, and what it yields: a row (a sample and its place), a problem, or a note.

Column names and defaults are the same for every layout; one pass finds every problem. A problem says what is wrong and
how to mend it; a note says what is odd in a set as published and how it was read.

    for entry in Source("photos").rows(): ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.core.taxonomy import Taxonomy
from emocaliber.data.labels import by_fold, class_number, fold, is_no_label
from emocaliber.data.votes import Rule

IMAGE = ("image", "image_path", "file_name", "filename", "filepath", "file_path", "image_file", "image_name", "img",
         "img_path", "path", "pth", "file", "images", "picture", "picture_path", "photo")  # fmt: skip
LABEL = ("label", "ground_truth", "emotion")
LABEL_OTHERWISE = ("labels", "label_name", "class_name", "class", "expression")
"""Columns that hold the label where none of LABEL and no votes do."""
LABEL_NAMES = ("label_name", "class_name", "emotion", "expression")
"""Columns that name a label that is a number."""
SPLIT = ("split", "usage", "subset", "partition")
SPLIT_OTHERWISE = ("set", "phase", "data_split", "dataset_split")
"""Columns that hold the split where none of SPLIT does, and what they say is one."""
CLUSTER = ("cluster", "subject", "source")
RATIONALE = ("rationale", "reasoning")
NAMES = frozenset({*IMAGE, *LABEL, *LABEL_OTHERWISE, *SPLIT, *SPLIT_OTHERWISE, *CLUSTER, *RATIONALE,
                   "pixels", "candidates", "question", "votes", "raters", "id",
                   "group", "task", "licence", "label_rule", "ratings", "second_votes"})  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "verbalize": "verbalize", "unlabelled": "unlabelled",
    "known": "known", "tied": "tied",
    "val": "calibrate", "valid": "calibrate", "validation": "calibrate", "dev": "calibrate",
    "publictest": "calibrate", "calibrate": "calibrate", "test": "test", "testing": "test", "privatetest": "test",
}  # fmt: skip
"""Published names of splits, and ours. What others validate on is what we calibrate on."""


@dataclass(frozen=True)
class Place:
    """A file, and the line or row in it (from 1; None for the entire file)."""

    file: str
    line: int | None = None
    unit: str = "line"

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}, {self.unit} {self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `kind` to count by, `key` the column or field ("" where there is none).

    `droppable`: leaving out one row or file mends it; where it is not, nothing can be read until it is mended.
    """

    kind: str
    place: Place
    key: str
    what: str
    fix: str
    droppable: bool = True

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.place}: {key}{self.what}; {self.fix}"


@dataclass(frozen=True)
class Note:
    """An oddity of the data and how it was read: no fault, but what a reader of results should know of. `count` is of
    how many rows."""

    kind: str
    place: Place
    what: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True)
class Row:
    """A sample and where it stands."""

    place: Place
    sample: Sample


Entry = Row | Problem | Note


def rows_only(entries: Iterable[Entry]) -> Iterator[Row]:
    """The rows. Raises UserError at the first problem: `emocaliber data check` lists them all."""
    for entry in entries:
        if isinstance(entry, Problem):
            raise UserError(
                f"{entry}. `emocaliber data check` lists every such row"
                + ("; --drop-problems leaves them out" if entry.droppable else "")
            )
        if isinstance(entry, Row):
            yield entry


@dataclass(frozen=True)
class Defaults:
    """What holds for every record that does not say otherwise. `rule` makes a label of votes where there is none;
    `class_names` are labels by class number; `two_panels` asks for each picture's own votes, where a set has merged
    those of identical ones; `labelled` is whether a record without a label is a problem."""

    root: Path
    task: str = "emotion"
    taxonomy: Taxonomy | None = None
    candidates: tuple[str, ...] = ()
    split: str = "train"
    licence: str = ""
    rule: Rule = "plurality"
    class_names: Mapping[str, str] = field(default_factory=dict)
    two_panels: bool = False
    labelled: bool = True

    @property
    def labels(self) -> tuple[str, ...]:
        """The candidates of a record that lists none."""
        return self.taxonomy.labels if self.taxonomy else self.candidates

    def match(self, label: object, candidates: Sequence[str]) -> str | None:
        """The candidate that a written label means: in any spelling, by a declared synonym, or by its class number."""
        named = by_fold(tuple(candidates))
        if isinstance(label, str) and (match := named.get(fold(label))) is not None:
            return match
        synonyms = self.taxonomy.synonyms if self.taxonomy else {}
        if isinstance(label, str) and (synonym := synonyms.get(label.strip().casefold())) is not None:
            return named.get(fold(synonym))
        number = class_number(label)
        return named.get(fold(self.class_names[number])) if number is not None and number in self.class_names else None


@lru_cache(maxsize=4096)
def column_name(written: str) -> str:
    """The name in NAMES that a column's written name means, or the written name."""
    plain = re.sub(r"[\s-]+", "_", written.strip().casefold())
    return plain if plain in NAMES else written.strip()


def _single(value: Any) -> Any:
    """The label of a list of one."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def label_of(values: Mapping[str, Any]) -> tuple[str, Any]:
    """The column of a record that holds its label, and what it says: a text for "missing" too, which may be a label."""
    names = LABEL if values.get("votes") is not None else (*LABEL, *LABEL_OTHERWISE)
    named = [(name, _single(values[name])) for name in names if values.get(name) not in (None, "")]
    if named and class_number(named[0][1]) is not None:
        texts = [(name, values[name]) for name in LABEL_NAMES if isinstance(values.get(name), str)]
        named = [pair for pair in texts if class_number(pair[1]) is None and not is_no_label(pair[1])] or named
    return next((pair for pair in named if not is_no_label(pair[1])), named[0] if named else (LABEL[0], None))
