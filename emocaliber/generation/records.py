"""Records: each response beside the sample it answers, in a file that can be read again without the images.

Not the journal, which is for resuming: this file is written whole, in the samples' order, and read by whatever
reads text anew: another policy, another tool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import decode_lines
from emocaliber.core.samples import Ratings, Sample
from emocaliber.generation.engine import Response


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line: the sample without its image, the template's hash, and the response."""

    id: str
    task: str
    candidates: tuple[str, ...]
    label: str | None
    split: str
    group: str
    cluster: str
    template: str
    response: Response
    votes: dict[str, int] | None = None
    licence: str = ""
    raters: int | None = None
    second_votes: dict[str, int] | None = None

    @classmethod
    def of(cls, sample: Sample, response: Response, template: str) -> Record:
        """The record of a response to a sample, asked with the template of this hash."""
        kept = {name: getattr(sample, name) for name in _SAMPLE_KEYS}
        return cls(template=template, response=response, raters=sample.raters, **kept)

    @property
    def sample(self) -> Sample:
        """The sample again, with no bytes for its image."""
        ratings = Ratings("counts", self.raters) if self.raters else None
        return Sample(image=b"", ratings=ratings, **{name: getattr(self, name) for name in _SAMPLE_KEYS})


_SAMPLE_KEYS = ("id", "task", "candidates", "label", "split", "group", "cluster", "votes", "licence", "second_votes")


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write the file whole or not at all."""
    write_atomically(path, (msgspec.json.encode(record) + b"\n" for record in records))


def read_records(path: Path) -> Iterator[Record]:
    """The file's records, one at a time. Raises UserError naming file, line and key."""
    for _, record in decode_lines(path, Record):
        yield record
