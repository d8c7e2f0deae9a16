"""What a reader yields: a row (a sample and its place in a file), a problem, or a note, so that one pass finds all.

A problem says what is wrong and how to mend it; a note says what is odd in a set as published and how it was read.

    for entry in Source("photos").rows(): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample


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
