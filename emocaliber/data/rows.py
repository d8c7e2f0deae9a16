"""The interface of all layout readers: their defaults, and what they yield (rows, problems and notes).

Column names and defaults are the same for every layout, and one pass finds all problems. A problem says what is wrong
and how to fix it; a note says what is unusual in a published data set and how it was read.

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
from emocaliber.data.labels import by_fold, class_number, doubtful, fold, is_no_label, one_spelling
from emocaliber.data.votes import Rule

IMAGE = ("image", "image_path", "file_name", "filename", "filepath", "file_path", "image_file", "image_name", "img",
         "img_path", "path", "pth", "file", "images", "picture", "picture_path", "photo", "img_name", "imagepath",
         "imagename", "imagefile", "relative_path", "subdirectory_filepath")  # fmt: skip
LABEL = ("label", "ground_truth", "emotion")
LABEL_OTHERWISE = ("labels", "label_name", "class_name", "class", "expression")
"""Columns that hold the label if there are no LABEL columns and no votes."""
LABEL_NAMES = ("label_name", "label_text", "class_name", "emotion_name", "emotion", "expression")
"""Columns with the name of a label that is given as a number."""
SPLIT = ("split", "usage", "subset", "partition")
SPLIT_OTHERWISE = ("set", "phase", "data_split", "dataset_split")
"""Columns that hold the split if no SPLIT column does and their value is a known split."""
CLUSTER = ("cluster", "subject", "source")
RATIONALE = ("rationale", "reasoning")
NAMES = frozenset({*IMAGE, *LABEL, *LABEL_OTHERWISE, *LABEL_NAMES, *SPLIT, *SPLIT_OTHERWISE, *CLUSTER, *RATIONALE,
                   "pixels", "candidates", "question", "votes", "raters", "id",
                   "group", "task", "licence", "label_rule", "ratings", "second_votes"})  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "verbalize": "verbalize", "unlabelled": "unlabelled",
    "known": "known", "tied": "tied",
    "val": "calibrate", "valid": "calibrate", "validation": "calibrate", "dev": "calibrate",
    "publictest": "calibrate", "calibrate": "calibrate", "test": "test", "testing": "test", "privatetest": "test",
}  # fmt: skip
"""Published names of splits, mapped to ours. Validation splits become "calibrate"."""


def split_named(text: str) -> str | None:
    """Our split of that name, whatever its case, spaces, hyphens and underscores; or None."""
    return SPLITS.get(re.sub(r"[\s_-]+", "", text.casefold()))


@dataclass(frozen=True)
class Place:
    """A location: a file, and the line or row in it (counted from 1; None for the entire file)."""

    file: str
    line: int | None = None
    unit: str = "line"

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}, {self.unit} {self.line}"


@dataclass(frozen=True)
class Problem:
    """One problem: `kind` for counting, `key` the column or field ("" if none), `what` is wrong, and the `fix`.

    `droppable`: dropping one row or file solves it; otherwise nothing can be read until it is fixed.
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
    """Something unusual in the data and how it was read: not an error, but worth knowing. `count` is the number of rows
    concerned."""

    kind: str
    place: Place
    what: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True)
class Row:
    """A sample and its location."""

    place: Place
    sample: Sample


Entry = Row | Problem | Note


def labels_of(place: Place, counts: Mapping[str, int]) -> tuple[tuple[str, ...], list[Entry]]:
    """The labels that a source names so often, with a note for each merged spelling and a problem for what may be no
    label of its own."""
    labels, sentences = one_spelling(counts)
    merged: list[Entry] = [Note("spellings of one label", place, sentence) for sentence in sentences]
    asked = (Problem(kind, place, "label", what, fix, droppable=False) for kind, what, fix in doubtful(labels))
    return labels, [*merged, *asked]


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
    """Defaults for records that do not say otherwise. `rule` derives a missing label from votes; `class_names` maps
    class numbers to labels; `two_panels` asks for each file's own votes if a data set has merged those of identical
    images; `labelled`: a record without a label is a problem."""

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
        """The candidates of records that list none."""
        return self.taxonomy.labels if self.taxonomy else self.candidates

    def match(self, label: object, candidates: Sequence[str]) -> str | None:
        """The candidate that a written label refers to, by spelling variant, declared synonym or class number; or
        None."""
        named = by_fold(tuple(candidates))
        if isinstance(label, str) and (match := named.get(fold(label))) is not None:
            return match
        synonyms = self.taxonomy.synonyms if self.taxonomy else {}
        if isinstance(label, str) and (synonym := synonyms.get(label.strip().casefold())) is not None:
            return named.get(fold(synonym))
        written = class_number(label) or (fold(label) if isinstance(label, str) else "")
        return named.get(fold(self.class_names[written])) if written in self.class_names else None


@lru_cache(maxsize=4096)
def column_name(written: str) -> str:
    """The name in NAMES that a column header refers to, or the header itself."""
    plain = re.sub(r"[\s-]+", "_", written.strip().casefold())
    return plain if plain in NAMES else written.strip()


def _single(value: Any) -> Any:
    """The element of a one-element list, also as pandas writes it (`['joy']`), or of such a mapping, and bytes as text;
    other values unchanged."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, str) and (listed := re.fullmatch(r"\[\s*(['\"])([^'\",]+)\1\s*\]", value.strip())):
        return listed[2]
    if isinstance(value, Mapping) and len(value) == 1:
        return next(iter(value.values()))
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def label_of(values: Mapping[str, Any]) -> tuple[str, Any]:
    """The column that holds a record's label, and its value, which may be a text for "missing"."""
    names = LABEL if values.get("votes") is not None else (*LABEL, *LABEL_OTHERWISE)
    named = [(name, _single(values[name])) for name in names if values.get(name) not in (None, "")]
    if named and class_number(named[0][1]) is not None:
        texts = [(name, values[name]) for name in LABEL_NAMES if isinstance(values.get(name), str)]
        named = [pair for pair in texts if class_number(pair[1]) is None and not is_no_label(pair[1])] or named
    return next((pair for pair in named if not is_no_label(pair[1])), named[0] if named else (LABEL[0], None))
