"""SampleTable: the samples of Parquet files as columns. A million rows take about 200 MB, and samples are created on
access.

Each process of a launch decodes the columns in seconds and creates only the samples that it trains on. Images stay in
the files. The columns that rows are selected by are arrays (`selection_columns`), so that selecting creates no samples.
The functions accept any samples, and use the arrays if these are a SampleTable.

    table = SampleTable([Path("photos.parquet")])
    table.in_splits(["train"])[0].label
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from emocaliber.core.samples import FileImage, ImageSource, Sample, StoredImage
from emocaliber.data.parquet import Interner, sample_at, samples_of
from emocaliber.data.parquet_parts import Mask, Numbers, Part
from emocaliber.data.selection_columns import Question, read_columns


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """The parts of a sample that are checked before training; `rated`: it has votes, `reasoned`: it has a rationale."""

    id: str
    image: ImageSource
    task: str
    split: str
    cluster: str
    label: str | None
    rated: bool
    reasoned: bool


def summaries(samples: Iterable[Sample]) -> Iterator[SampleSummary]:
    """The summary of each sample, in order."""
    if isinstance(samples, SampleTable):
        yield from samples.summaries()
        return
    for s in samples:
        rated = any((s.votes or {}).values())
        yield SampleSummary(s.id, s.image, s.task, s.split, s.cluster, s.label, rated, bool(s.rationale))


def in_splits(samples: Sequence[Sample], splits: Sequence[str]) -> Sequence[Sample]:
    """The rows of the splits, in order; "emoji:train" is that split of one task."""
    if isinstance(samples, SampleTable):
        return samples.in_splits(splits)
    return [s for s in samples if s.split in splits or f"{s.task}:{s.split}" in splits]


def take(samples: Sequence[Sample], positions: Numbers) -> Sequence[Sample]:
    """The samples at these positions."""
    return samples.take(positions) if isinstance(samples, SampleTable) else [samples[i] for i in positions.tolist()]


def labelled_and_rated(samples: Sequence[Sample]) -> tuple[Mask, Mask]:
    """Masks of the samples with a label, and of those with votes."""
    if isinstance(samples, SampleTable):
        return samples.labelled, samples.rated
    rated = [any((sample.votes or {}).values()) for sample in samples]
    return np.array([sample.label is not None for sample in samples], bool), np.array(rated, bool)


def first_without_rationale(samples: Sequence[Sample]) -> str | None:
    """The first sample without a rationale, as file, row and id (only the id if it is not from a file); None if all
    have one."""
    if isinstance(samples, SampleTable):
        missing = np.flatnonzero(~samples.reasoned)
        return samples.location(int(missing[0])) if len(missing) else None
    return next((sample.id for sample in samples if not sample.rationale), None)


def files_of(samples: Iterable[Sample]) -> list[FileImage]:
    """The images that are separate files."""
    if isinstance(samples, SampleTable):
        return samples.files
    return [sample.image for sample in samples if isinstance(sample.image, FileImage)]


def questions(samples: Iterable[Sample]) -> list[Question]:
    """The distinct pairs of task and candidates, in order of first appearance."""
    if isinstance(samples, SampleTable):
        return samples.questions
    return list(dict.fromkeys((sample.task, sample.candidates) for sample in samples))


class SampleTable(Sequence[Sample]):
    """All or selected rows of Parquet files, in order. Raises UserError as `parquet.iter_samples` does."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._columns, self._interner = read_columns(files), Interner()
        self._rows: Numbers = np.arange(len(self._columns.split))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return self.take(np.arange(len(self))[position])
        return sample_at(*self._part_of(position), self._interner)

    def _part_of(self, position: int) -> tuple[Part, int]:
        """The part that contains a row, and the row's position in it."""
        row = self._rows[position]
        number = int(np.searchsorted(self._columns.starts, row, side="right")) - 1
        return self._columns.parts[number], int(row - self._columns.starts[number])

    def __iter__(self) -> Iterator[Sample]:
        for part in self._selected_parts():
            yield from samples_of(part, Interner())

    def take(self, selection: Numbers | Mask | Sequence[int]) -> SampleTable:
        """The rows at these positions in this table, or where a mask is true."""
        table, selection = SampleTable.__new__(SampleTable), np.asarray(selection)
        table._columns, table._interner = self._columns, self._interner
        table._rows = self._rows[selection if selection.dtype == bool else selection.astype(np.int64)]
        return table

    def in_splits(self, splits: Sequence[str]) -> SampleTable:
        """The rows of the splits; "emoji:train" is that split of one task."""
        is_in_splits = np.array([
            [split in splits or f"{task}:{split}" in splits for split in self._columns.splits]
            for task, _ in self._columns.questions
        ], bool)  # fmt: skip
        if not len(self):
            return self
        return self.take(is_in_splits[self._columns.question[self._rows], self._columns.split[self._rows]])

    @property
    def labelled(self) -> Mask:
        """Which rows have a label."""
        return self._columns.labelled[self._rows]

    @property
    def rated(self) -> Mask:
        """Which rows have a vote."""
        return self._columns.rated[self._rows]

    @property
    def reasoned(self) -> Mask:
        """Which rows have a rationale."""
        return self._columns.reasoned[self._rows]

    def location(self, position: int) -> str:
        """The file and row that the sample at this position was read from, and its id."""
        part, row = self._part_of(position)
        return f"{part.path}: row {part.numbers[row]} ({self[position].id})"

    @property
    def questions(self) -> list[Question]:
        """The distinct pairs of task and candidates, in order of first appearance."""
        codes, first = np.unique(self._columns.question[self._rows], return_index=True)
        return [self._columns.questions[codes[n]] for n in np.argsort(first)]

    def summaries(self) -> Iterator[SampleSummary]:
        """The summary of each row, in order."""
        votes_and_rationale = iter(zip(self.rated.tolist(), self.reasoned.tolist(), strict=True))
        for part in self._selected_parts():
            columns = (part.table[name].to_pylist() for name in ("id", "task", "split", "cluster", "label"))
            for image, id_, task, split, cluster, label in zip(part.images["image"], *columns, strict=True):
                source = image if isinstance(image, StoredImage) else FileImage(part.path.parent, image or "")
                flags = next(votes_and_rationale)
                yield SampleSummary(id_, source, intern(task), intern(split), cluster, label and intern(label), *flags)

    @property
    def files(self) -> list[FileImage]:
        """The images that are files beside the Parquet files, not stored in them."""
        return [
            FileImage(part.path.parent, name)
            for part in self._selected_parts()
            for name in part.images["image"]
            if isinstance(name, str)
        ]

    def _selected_parts(self) -> Iterator[Part]:
        """The selected rows, part by part, in order."""
        part_of_row = np.searchsorted(self._columns.starts, self._rows, side="right") - 1
        ends = [*(np.flatnonzero(np.diff(part_of_row)) + 1).tolist(), len(part_of_row)]
        for start, end in zip([0, *ends], ends, strict=False):
            if end > start:
                part, rows = self._columns.parts[part_of_row[start]], self._rows[start:end]
                complete = end - start == len(part.numbers) and bool((np.diff(rows) == 1).all())
                yield part if complete else part.take(rows - self._columns.starts[part_of_row[start]])
