"""The columns that rows of Parquet files are selected by, as arrays: split, task and candidates, and whether a row has
a label, a vote or a rationale.

columns = read_columns([Path("photos.parquet")])
columns.labelled.sum()
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from emocaliber.core.errors import UserError
from emocaliber.data.parquet import Interner, lists_of, parts_in, samples_of
from emocaliber.data.parquet_parts import Mask, Numbers, Part

Question = tuple[str, tuple[str, ...]]
"""A task and its candidates."""


@dataclass(frozen=True)
class SelectionColumns:
    """All rows of the files: their parts, the number of each part's first row, and a value for each row.

    `question` and `split` hold codes, which are positions in `questions` and `splits`.
    """

    parts: list[Part]
    starts: Numbers
    questions: list[Question]
    question: npt.NDArray[np.int32]
    splits: list[str]
    split: npt.NDArray[np.int32]
    labelled: Mask
    rated: Mask
    reasoned: Mask


def read_columns(files: Iterable[Path]) -> SelectionColumns:
    """Read the columns of all rows, in order.

    Raises UserError for a file that is not Parquet, and for a label or vote that is not among its row's candidates.
    """
    parts, questions, splits = list[Part](), _Codes(), _Codes()
    question, split, labelled, rated, reasoned = (list[Any]() for _ in range(5))
    for path in files:
        try:
            for part in parts_in(path, coded=True):
                parts.append(part)
                question.append(_question_codes(part, questions))
                split.append(_map_distinct(part.table["split"], splits.of))
                labelled.append(_is_labelled(part))
                rated.append(_is_rated(part))
                reasoned.append(_is_reasoned(part))
                _refuse_unknown_labels(part, question[-1], questions.values)
        except pa.ArrowException as error:
            raise UserError(f"{path}: not a readable Parquet file ({error})") from error
    starts = np.cumsum([0, *(len(part.numbers) for part in parts)])[:-1]
    return SelectionColumns(
        parts,
        starts,
        questions.values,
        _concatenated(question, np.int32),
        splits.values,
        _concatenated(split, np.int32),
        *(_concatenated(masks, np.bool_) for masks in (labelled, rated, reasoned)),
    )


def _concatenated(pieces: list[Any], dtype: Any) -> Any:
    return np.concatenate(pieces).astype(dtype) if pieces else np.empty(0, dtype)


class _Codes:
    """Integer codes for values, in order of first appearance."""

    def __init__(self) -> None:
        self._codes: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        """The value's code."""
        return self._codes.setdefault(value, len(self._codes))

    @property
    def values(self) -> list[Any]:
        """The values, by code."""
        return list(self._codes)


def _map_distinct(column: pa.ChunkedArray, function: Callable[[Any], int], null: int = -1) -> npt.NDArray[np.int64]:
    """`function` of each row's text (`null` without one), called once per distinct text."""
    array = _dictionary_encoded(column.combine_chunks())
    results = np.array([*map(function, array.dictionary.to_pylist()), null])
    rows: npt.NDArray[np.int64] = results[array.indices.fill_null(len(results) - 1).to_numpy(zero_copy_only=False)]
    return rows


def _dictionary_encoded(array: pa.Array) -> pa.DictionaryArray:
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array if isinstance(array, pa.DictionaryArray) else array.dictionary_encode()


def _question_codes(part: Part, codes: _Codes) -> npt.NDArray[np.int64]:
    """The code of each row's task and candidates."""
    column = part.table["candidates"].combine_chunks()
    values = _dictionary_encoded(column.flatten())
    lengths = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    encoded_tasks = _dictionary_encoded(part.table["task"].combine_chunks())
    tasks, task_codes = encoded_tasks.dictionary.to_pylist(), encoded_tasks.indices.to_numpy(zero_copy_only=False)
    if len(lengths) and lengths[0] > 0 and (lengths == lengths[0]).all():
        rows = values.indices.to_numpy(zero_copy_only=False).reshape(len(lengths), -1)
        if (rows == rows[0]).all():  # the usual case
            candidates = tuple(values.dictionary.take(pa.array(rows[0])).to_pylist())
            questions: npt.NDArray[np.int64] = np.array([codes.of((task, candidates)) for task in tasks])[task_codes]
            return questions
    lists = lists_of(part.table["candidates"], tuple)
    return np.array([codes.of((tasks[n], labels)) for n, labels in zip(task_codes.tolist(), lists, strict=True)], int)


def _is_labelled(part: Part) -> Mask:
    mask: Mask = _map_distinct(part.table["label"], bool, null=0).astype(bool)
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
    not_empty = pc.greater(pc.utf8_length(part.table["rationale"].combine_chunks()), 0)
    mask: Mask = not_empty.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _refuse_unknown_labels(part: Part, question: npt.NDArray[np.int64], questions: list[Question]) -> None:
    """Raises UserError for a label or a vote that is not among its row's candidates."""
    codes = _Codes()
    uses = [(question, _map_distinct(part.table["label"], codes.of))]
    if "votes" in part.table.column_names:
        votes = part.table["votes"].combine_chunks()
        labels = pa.chunked_array([pc.struct_field(votes.flatten(), "label")])
        uses.append((question[pc.list_parent_indices(votes).to_numpy()], _map_distinct(labels, codes.of)))
    texts = [*codes.values, None]
    for questions_of_uses, labels_of_uses in uses:
        for pair in np.unique(questions_of_uses * len(texts) + (labels_of_uses % len(texts))).tolist():
            text = texts[pair % len(texts)]
            if text and text not in questions[pair // len(texts)][1]:
                deque(samples_of(part, Interner()), maxlen=0)  # raises UserError, which names the row
