"""The answers of people, kept from the moment they are given: a line of JSON each, on the disk before anybody is told.

A line is {"id": row, "label": text, "at": time}; label null takes an answer back, and the last line on a row counts.

    journal = AnswerJournal(Path("answers.jsonl"))
    journal.append({"0001.jpg": "joy"})
    journal.read()                      # {"0001.jpg": "joy"}, after kill -9 too
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError, did_you_mean

UNCLEAR = "unclear"
"""The answer of a person who cannot tell."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line: what a person says of a row, null where an answer was taken back."""

    id: str
    label: str | None
    at: str


@dataclass(frozen=True)
class AnswerJournal:
    """A file of answers. One process writes it at a time (see core.outputs)."""

    path: Path

    def read(self) -> dict[str, str]:
        """The last word on each row. A line that a kill cut short is passed over. Raises UserError for any other."""
        answers: dict[str, str] = {}
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                given = msgspec.json.decode(line, type=Answer)
            except msgspec.DecodeError as problem:
                if number == len(lines):
                    continue
                raise UserError(f"{self.path}, line {number}: {problem}; restore the file") from None
            if given.label is None:
                answers.pop(given.id, None)
            else:
                answers[given.id] = given.label
        return answers

    def append(self, given: Mapping[str, str | None]) -> None:
        """On the disk before this returns. What a kill left of a line is cut off first: nobody was told it was kept."""
        if not given:
            return
        now = datetime.now(UTC).isoformat("T", "seconds")
        lines = [msgspec.json.encode(Answer(name, label, now)) + b"\n" for name, label in given.items()]
        with self.path.open("ab+") as file:
            file.truncate(_end_of_lines(file.seek(0, os.SEEK_END), self.path))
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())


def _end_of_lines(size: int, path: Path) -> int:
    """Where the last full line ends."""
    with path.open("rb") as file:
        start = max(0, size - (1 << 16))
        file.seek(start)
        tail = file.read()
    return start + tail.rfind(b"\n") + 1 if b"\n" in tail else 0


def known_label(label: str, labels: tuple[str, ...], where: str) -> str:
    """The label as it is spelt, in any case; or UNCLEAR. Raises UserError where it is none of them."""
    every = (*labels, UNCLEAR)
    known = {each.casefold(): each for each in every}
    if (found := known.get(label.strip().casefold())) is None:
        hint = did_you_mean(label, every) or f"; one of {', '.join(every)}"
        raise UserError(f"{where}: {label!r} is not among the labels{hint}; where it should be"
                        " one, name them all with --labels")  # fmt: skip
    return found
