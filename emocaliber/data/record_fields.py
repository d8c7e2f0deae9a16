"""A record being read: access to its values, and the problems found in them.

record = Record(place, values, defaults)
label = record.text("label")     # "" after adding a problem, if the label is a list, say
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emocaliber.data.labels import class_number, is_missing
from emocaliber.data.rows import Defaults, Place, Problem


@dataclass
class Record:
    """A record being read: its values by column name, and the problems found so far."""

    place: Place
    values: Mapping[str, Any]
    defaults: Defaults
    problems: list[Problem] = field(default_factory=list)

    def problem(self, kind: str, key: str, what: str, fix: str) -> None:
        """Add a problem of this column: what is wrong, and how to fix it."""
        self.problems.append(Problem(kind, self.place, key, what, fix))

    def first(self, names: Sequence[str]) -> tuple[str, Any]:
        """The first of these columns with a value, and the value."""
        pairs = ((name, self.values.get(name)) for name in names)
        return next(((name, value) for name, value in pairs if not is_missing(value)), (names[0], None))

    def text(self, *names: str, default: str = "") -> str:
        """A value that must be text or a number; anything else is a problem."""
        name, value = self.first(names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.problem("wrong type", name, f"{value!r} is not text", "write one plain value")
            return default
        return str(value)

    def unknown_label_problem(self, key: str, written: object, candidates: Sequence[str], kind: str) -> None:
        """Add the problem of a label that is not a candidate, unless the candidates themselves are malformed."""
        if any(problem.key == "candidates" for problem in self.problems):
            return
        if (number := class_number(written)) is not None:
            classes = ", ".join(f"{code}={name}" for code, name in self.defaults.class_names.items())
            self.problem("class number without a name", key,
                         f"{written!r} is a {'number' if '.' in number else 'class number'}, and"
                         f" {f'the classes are {classes}' if classes else 'nothing names it'}",
                         "name the classes: --labels neutral,happy,... from 0, or --labels"
                         " 1=neutral,2=happy,...")  # fmt: skip
        else:
            self.problem(kind, key, f"{written!r} is not among the candidates",
                         f"correct it, or the candidates {', '.join(candidates)}")  # fmt: skip
