"""Rows as they are read: a sample with its place in a file, or a problem that says what is wrong there and how to
mend it.

Not a checker of images (see check). A loader yields both kinds, so one pass over a file finds everything.

    python -c "from emocaliber.data.rows import Place, Problem; print(Problem('image', Place('a.csv', 3), 'image',
    'no such file', 'mend the name'))"
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample


@dataclass(frozen=True)
class Place:
    """A file, and the line or row in it (from 1; None for the file as a whole)."""

    file: str
    line: int | None = None
    unit: str = "line"

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}, {self.unit} {self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `kind` to count by, `key` the column or field ("" where there is none)."""

    kind: str
    place: Place
    key: str
    what: str
    fix: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.place}: {key}{self.what}; {self.fix}"


@dataclass(frozen=True)
class Row:
    """A sample and where it stands."""

    place: Place
    sample: Sample


Found = Row | Problem


def rows_only(found: Iterable[Found]) -> Iterator[Row]:
    """The rows. Raises UserError at the first problem: `emocaliber data check` lists them all."""
    for one in found:
        if isinstance(one, Problem):
            raise UserError(f"{one}. `emocaliber data check` lists every such row")
        yield one
