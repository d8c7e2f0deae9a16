"""SampleTable: the samples of Parquet files as columns. A million rows take about 200 MB, and samples are created on
access.

Each process of a launch decodes the columns in seconds and creates only the samples that it trains on. Images stay in
the files. The columns that rows are selected by (split, task, candidates, whether labelled, whether rated) are arrays,
so that selecting rows creates no samples.

    table = SampleTable([Path("photos.parquet")])
    table.in_splits(["train"])[0].label
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from emocaliber.core.errors import UserError
from emocaliber.core.samples import FileImage, ImageSource, Sample, StoredImage
from emocaliber.data.parquet import Interner, lists_of, parts_in, sample_at, samples_of
from emocaliber.data.parquet_parts import Mask, Numbers, Part

Question = tuple[str, tuple[str, ...]]


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


def take(samples: Sequence[Sample], places: Numbers) -> Sequence[Sample]:
    """The samples at these places."""
    return samples.take(places) if isinstance(samples, SampleTable) else [samples[i] for i in places.tolist()]


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
        return samples.place(int(missing[0])) if len(missing) else None
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


@dataclass(frozen=True)
class _Columns:
    """All rows of the files: their parts, the first row of each part, and the columns that rows are selected by."""

    parts: list[Part]
    starts: Numbers
    questions: list[Question]
    question: npt.NDArray[np.int32]
    splits: list[str]
    split: npt.NDArray[np.int32]
    labelled: Mask
    rated: Mask
    reasoned: Mask


class SampleTable(Sequence[Sample]):
    """All or selected rows of Parquet files, in order. Raises UserError as `parquet.iter_samples` does."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._columns, self._interner = _columns(files), Interner()
        self._rows: Numbers = np.arange(len(self._columns.split))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        return sample_at(*self._part_of(place), self._interner)

    def _part_of(self, place: int) -> tuple[Part, int]:
        """The part that contains a row, and the row's position in it."""
        row = self._rows[place]
        number = int(np.searchsorted(self._columns.starts, row, side="right")) - 1
        return self._columns.parts[number], int(row - self._columns.starts[number])

    def __iter__(self) -> Iterator[Sample]:
        for part in self._chosen_parts():
            yield from samples_of(part, Interner())

    def take(self, places: Numbers | Mask | Sequence[int]) -> SampleTable:
        """The rows at these positions among those selected, or where a mask is true."""
        chosen, at = SampleTable.__new__(SampleTable), np.asarray(places)
        chosen._columns, chosen._interner = self._columns, self._interner
        chosen._rows = self._rows[at if at.dtype == bool else at.astype(np.int64)]
        return chosen

    def in_splits(self, splits: Sequence[str]) -> SampleTable:
        """The rows of the splits; "emoji:train" is that split of one task."""
        meant = np.array([
            [split in splits or f"{task}:{split}" in splits for split in self._columns.splits]
            for task, _ in self._columns.questions
        ], bool)  # fmt: skip
        if not len(self):
            return self
        return self.take(meant[self._columns.question[self._rows], self._columns.split[self._rows]])

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

    def place(self, place: int) -> str:
        """The file and row that the sample at this place was read from, and its id."""
        part, row = self._part_of(place)
        return f"{part.path}: row {part.numbers[row]} ({self[place].id})"

    @property
    def questions(self) -> list[Question]:
        """The distinct pairs of task and candidates, in order of first appearance."""
        numbers, first = np.unique(self._columns.question[self._rows], return_index=True)
        return [self._columns.questions[numbers[n]] for n in np.argsort(first)]

    def summaries(self) -> Iterator[SampleSummary]:
        """The summary of each row, in order."""
        votes_and_rationale = iter(zip(self.rated.tolist(), self.reasoned.tolist(), strict=True))
        for part in self._chosen_parts():
            plain = (part.table[name].to_pylist() for name in ("id", "task", "split", "cluster", "label"))
            for image, name, task, split, cluster, label in zip(part.images["image"], *plain, strict=True):
                shown = image if isinstance(image, StoredImage) else FileImage(part.path.parent, image or "")
                rest = next(votes_and_rationale)
                yield SampleSummary(name, shown, intern(task), intern(split), cluster, label and intern(label), *rest)

    @property
    def files(self) -> list[FileImage]:
        """The images that are files beside the Parquet files, not stored in them."""
        return [
            FileImage(part.path.parent, name)
            for part in self._chosen_parts()
            for name in part.images["image"]
            if isinstance(name, str)
        ]

    def _chosen_parts(self) -> Iterator[Part]:
        """The selected rows, part by part, in order."""
        of_part = np.searchsorted(self._columns.starts, self._rows, side="right") - 1
        ends = [*(np.flatnonzero(np.diff(of_part)) + 1).tolist(), len(of_part)]
        for start, end in zip([0, *ends], ends, strict=False):
            if end > start:
                part, rows = self._columns.parts[of_part[start]], self._rows[start:end]
                complete = end - start == len(part.numbers) and bool((np.diff(rows) == 1).all())
                yield part if complete else part.take(rows - self._columns.starts[of_part[start]])


def _columns(files: Iterable[Path]) -> _Columns:
    parts, questions, splits = list[Part](), _Codes(), _Codes()
    question, split, labelled, rated, reasoned = (list[Any]() for _ in range(5))
    for path in files:
        try:
            for part in parts_in(path, coded=True):
                parts.append(part)
                question.append(_questions(part, questions))
                split.append(_by_value(part.table["split"], splits.of))
                labelled.append(_is_labelled(part))
                rated.append(_is_rated(part))
                reasoned.append(_is_reasoned(part))
                _refuse_unknown_labels(part, question[-1], questions.values)
        except pa.ArrowException as error:
            raise UserError(f"{path}: not a readable Parquet file ({error})") from error
    starts = np.cumsum([0, *(len(part.numbers) for part in parts)])[:-1]
    return _Columns(
        parts, starts, questions.values, _joined(question, np.int32), splits.values, _joined(split, np.int32),
        _joined(labelled, np.bool_), _joined(rated, np.bool_), _joined(reasoned, np.bool_),
    )  # fmt: skip


def _joined(pieces: list[Any], dtype: Any) -> Any:
    return np.concatenate(pieces).astype(dtype) if pieces else np.empty(0, dtype)


class _Codes:
    """Integer codes for values, in order of first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        """The value's code."""
        return self._numbers.setdefault(value, len(self._numbers))

    @property
    def values(self) -> list[Any]:
        return list(self._numbers)


def _by_value(column: pa.ChunkedArray, number: Callable[[Any], int], null: int = -1) -> npt.NDArray[np.int64]:
    """`number` of each row's text, called once per distinct text."""
    array = _encoded(column.combine_chunks())
    numbers = np.array([*map(number, array.dictionary.to_pylist()), null])
    chosen: npt.NDArray[np.int64] = numbers[array.indices.fill_null(len(numbers) - 1).to_numpy(zero_copy_only=False)]
    return chosen


def _encoded(array: pa.Array) -> pa.DictionaryArray:
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array if isinstance(array, pa.DictionaryArray) else array.dictionary_encode()


def _questions(part: Part, codes: _Codes) -> npt.NDArray[np.int64]:
    """The code of each row's task and candidates."""
    column = part.table["candidates"].combine_chunks()
    values = _encoded(column.flatten())
    lengths = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    tasks = _encoded(part.table["task"].combine_chunks())
    names, of_task = tasks.dictionary.to_pylist(), tasks.indices.to_numpy(zero_copy_only=False)
    if len(lengths) and lengths[0] > 0 and (lengths == lengths[0]).all():
        rows = values.indices.to_numpy(zero_copy_only=False).reshape(len(lengths), -1)
        if (rows == rows[0]).all():  # the usual case
            candidates = tuple(values.dictionary.take(pa.array(rows[0])).to_pylist())
            numbers: npt.NDArray[np.int64] = np.array([codes.of((name, candidates)) for name in names])[of_task]
            return numbers
    listed = lists_of(part.table["candidates"], tuple)
    return np.array([codes.of((names[n], labels)) for n, labels in zip(of_task.tolist(), listed, strict=True)], int)


def _is_labelled(part: Part) -> Mask:
    mask: Mask = _by_value(part.table["label"], bool, null=0).astype(bool)
    return mask


def _is_rated(part: Part) -> Mask:
    mask = np.zeros(len(part.numbers), bool)
    if "votes" in part.table.column_names:
        column = part.table["votes"].combine_chunks()
        counts = pc.struct_field(column.flatten(), "count").fill_null(0).to_numpy(zero_copy_only=False)
        mask[pc.list_parent_indices(column).to_numpy()[counts > 0]] = True
    return mask


def _is_reasoned(part: Part) -> Mask:
    if "rationale" not in part.table.column_names:
        return np.zeros(len(part.numbers), bool)
    there = pc.greater(pc.utf8_length(part.table["rationale"].combine_chunks()), 0)
    mask: Mask = there.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _refuse_unknown_labels(part: Part, question: npt.NDArray[np.int64], questions: list[Question]) -> None:
    """Raises UserError for a label or a vote that is not among its row's candidates."""
    labels = _Codes()
    pairs = [(question, _by_value(part.table["label"], labels.of))]
    for name in {"votes"} & set(part.table.column_names):
        column = part.table[name].combine_chunks()
        voted = pc.struct_field(column.flatten(), "label")
        pairs.append(
            (question[pc.list_parent_indices(column).to_numpy()], _by_value(pa.chunked_array([voted]), labels.of))
        )
    texts = [*labels.values, None]
    for asked, named in pairs:
        for pair in np.unique(asked * len(texts) + (named % len(texts))).tolist():
            text = texts[pair % len(texts)]
            if text and text not in questions[pair // len(texts)][1]:
                deque(samples_of(part, Interner()), maxlen=0)  # which names the row
