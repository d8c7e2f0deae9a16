"""The columns that `score --by` names: of the table that is judged, of a table joined by id, or of the rows themselves.

Nothing has to travel through `predict`: a row keeps its id, and `--groups` takes the very table that was predicted on.
A table without a column of ids is known by its name and line, as `predict` names its rows ("faces/1", "faces/2" …).

    emocaliber score answers.parquet --by age --by camera --groups faces.csv
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.prediction_table import SOURCES, Categorical, PredictionTable
from emocaliber.reading.foreign_outputs import is_table
from emocaliber.reading.headers import picture_column, plain, recognised
from emocaliber.reading.table_cells import Cells, read_cells
from emocaliber.reading.tables import RECOGNISED, Columns

OWN = ("task", "group", "truth", "predicted", "source")
"""What every prediction row has."""


@dataclass
class JoinedTable:
    """Values by row id of the columns of one file."""

    path: Path
    header: list[str]
    values: dict[str, list[Any]] = field(default_factory=dict)

    def column(self, name: str) -> int | None:
        """The place of a column, by its header in any case; None where there is none."""
        headers = [plain(header) for header in self.header]
        return headers.index(plain(name)) if plain(name) in headers else None


def find_columns(
    names: Sequence[str], paths: Sequence[Path], groups: Sequence[Path], columns: Columns = RECOGNISED
) -> Callable[[PredictionTable], tuple[dict[str, list[Any]], list[str]]]:
    """How to look up the values of columns for a method's rows, with notes on what is missing.

    Columns are looked up in `groups`, then in the tables among `paths`, then among the rows' own keys. Raises UserError
    if no file has a column, an id has two different values, or no id matches a row.
    """
    tables = [joined_table(path, columns, by_line=False) for path in groups]
    tables += [joined_table(path, columns, by_line=True) for path in paths if path.is_file() and is_table(path)]

    def values_of(table: PredictionTable) -> tuple[dict[str, list[Any]], list[str]]:
        values, notes = {}, []
        for name in dict.fromkeys(names):
            values[name] = _values(name, table, tables)
            missing = sum(value is None or not str(value).strip() for value in values[name])
            if missing:
                notes.append(f"{table.method}: {missing:,} of {len(table):,} rows have no value of {name!r}")
        return values, notes

    return values_of


def joined_table(path: Path, columns: Columns, *, by_line: bool) -> JoinedTable:
    """A table's cells by id. One without ids is known by its lines: as `score` names them, or `predict` does."""
    raw = read_cells(path)
    place, picture = _id_columns(raw, columns)
    joined, lines = JoinedTable(path, raw.header), dict[str, int]()
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    for order, (cells, number) in enumerate(zip(raw.cells, raw.numbers, strict=True), 1):
        if len(cells) != len(raw.header):
            raise UserError(f"{path}, {raw.place} {number}: it has {len(cells)} fields, the header {len(raw.header)}")
        if place is None:
            name = str(number - 1 if raw.place == "line" else number) if by_line else f"{stem}/{order}"
        else:
            name = str(cells[place]).strip()
        if joined.values.setdefault(name, cells) != cells:
            raise UserError(
                f"{path}, {raw.place} {number}: id {name!r} is that of {raw.place} {lines[name]} too, with other"
                " values; keep one row an id"
            )
        lines[name] = number
        if picture is not None:
            joined.values.setdefault(str(cells[picture]).strip(), cells)
    return joined


def _id_columns(raw: Cells, columns: Columns) -> tuple[int | None, int | None]:
    """The column of ids, and where there is none the one by whose picture a row may be known as well."""
    if columns.id is not None:
        named = plain(columns.id)
        return next((place for place, header in enumerate(raw.header) if plain(header) == named), None), None
    if (place := recognised(raw.header, "id")) is not None:
        return place, None
    picture = picture_column(raw.header, raw.cells)
    return None, picture[1] if picture is not None and picture[0] == "id" else None


def _values(name: str, table: PredictionTable, tables: Sequence[JoinedTable]) -> list[Any]:
    ids = table.ids.tolist()
    having = [(joined, place) for joined in tables if (place := joined.column(name)) is not None]
    for joined, place in having:
        if any(row in joined.values for row in ids):
            return [joined.values[row][place] if row in joined.values else None for row in ids]
    if having:
        joined = having[0][0]
        shown = ", ".join(repr(row) for row in list(joined.values)[:2])
        raise UserError(
            f"{joined.path}: none of its ids (such as {shown}) is that of a row of {table.method!r} (such as"
            f" {ids[0]!r}); give the ids of the predictions in a column 'id', or name yours with --id-column"
        )
    if plain(name) in OWN:
        return _own(plain(name), table)
    headers = [header for joined in tables for header in joined.header]
    files = " or ".join(str(joined.path) for joined in tables)
    where = f"in {files}, which has {', '.join(headers)}" if tables else "in the predictions"
    raise UserError(
        f"--by: there is no column {name!r} {where}; rows have {', '.join(OWN)}, and --groups FILE.csv joins a table by"
        f" its column 'id'{did_you_mean(name, [*headers, *OWN])}"
    )


def _own(name: str, table: PredictionTable) -> list[str]:
    keys: Mapping[str, Categorical] = {
        "task": table.task,
        "group": table.group,
        "truth": Categorical(table.truth, table.labels),
        "predicted": Categorical(table.predicted, table.labels),
        "source": Categorical(table.sources.astype(np.int32), tuple(source.value for source in SOURCES)),
    }
    coded = keys[name]
    return ["" if code < 0 else coded.names[code] for code in coded.codes.tolist()]
