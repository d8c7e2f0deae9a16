"""VLMEvalKit's result tables as Prediction rows: `MODEL_DATASET.xlsx` (or .tsv, .json) with index, answer, prediction.

Written from its source (open-compass/VLMEvalKit, vlmeval/inference.py and vlmeval/smp/file.py, 2026), for its authors
publish no package: a data set's columns without its pictures, and the response as `prediction`. Of multiple choice,
columns A, B, C … hold the options and `answer` a letter.

    emocaliber score outputs/Qwen2.5-VL-7B/Qwen2.5-VL-7B_EmoSet.xlsx
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import State
from emocaliber.reading.harness_rows import Item, candidates_in, votes_in
from emocaliber.reading.headers import recognised
from emocaliber.reading.table_cells import read_cells

NEEDED = {"index", "answer", "prediction"}
FAILED = "Failed to obtain answer"
"""The beginning of the response if the model gave none."""


def is_vlmevalkit_table(columns: Iterable[str]) -> bool:
    """Whether a table has the columns of a VLMEvalKit result, and no confidence column, as users' own tables have."""
    header = [name.strip().casefold() for name in columns]
    own = any(recognised(header, role) is not None for role in ("confidence", "correct"))
    return set(header) >= NEEDED and not own


def vlmevalkit_items(path: Path) -> Iterator[Item]:
    """The rows of a result table, in order. Raises UserError naming file and row."""
    raw = read_cells(path)
    header = [name.strip() for name in raw.header]
    for number, cells in zip(raw.numbers, raw.cells, strict=True):
        where = f"{path}, {raw.place} {number}"
        if len(cells) != len(header):
            raise UserError(f"{where}: it has {len(cells)} fields, the header {len(header)}")
        yield _item(path, where, {name: value for name, value in zip(header, cells, strict=True) if _is_there(value)})


def _item(path: Path, where: str, row: Mapping[str, Any]) -> Item:
    if missing := sorted({"index", "answer"} - set(row)):
        raise UserError(f"{where}: {missing[0]!r} is empty; every row needs its index and its true answer")
    options = tuple(str(row[letter]) for letter in ascii_uppercase if letter in row)
    response = str(row.get("prediction", ""))
    return Item(
        where,
        _plain(row["index"]),
        "all",
        path.name.removesuffix(".gz").rpartition(".")[0],
        _plain(row["answer"]),
        response,
        options if len(options) > 1 else candidates_in(row),
        lettered=len(options) > 1,
        finish_reason=State.ENGINE_ERROR.value if response.startswith(FAILED) else None,
        group=str(row.get("category", "")),
        votes=votes_in(row),
    )


def _plain(value: Any) -> str:
    """A cell as text; spreadsheets may store integers as 3.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_there(value: Any) -> bool:
    return value is not None and str(value).strip() != "" and value == value  # noqa: PLR0124 (NaN of a JSON table)
