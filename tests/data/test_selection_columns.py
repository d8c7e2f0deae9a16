"""The columns that rows are selected by agree with the samples, and labels outside the candidates are refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emocaliber.core.errors import UserError
from emocaliber.data.convert import SCHEMA
from emocaliber.data.embedded import FILES
from emocaliber.data.parquet import read_samples
from emocaliber.data.selection_columns import read_columns
from tests.data.test_sample_table import row


def test_each_row_has_the_values_of_its_sample(tmp_path: Path):
    table = pa.Table.from_pylist([row(number) for number in range(50)], schema=SCHEMA)
    pq.write_table(table, tmp_path / "mixed.parquet", row_group_size=7)
    files = [tmp_path / "mixed.parquet", FILES["emoji"]]
    columns = read_columns(files)
    samples = [sample for file in files for sample in read_samples(file)]
    assert [columns.questions[code] for code in columns.question] == [(s.task, s.candidates) for s in samples]
    assert [columns.splits[code] for code in columns.split] == [s.split for s in samples]
    assert columns.labelled.tolist() == [s.label is not None for s in samples]
    assert columns.rated.tolist() == [any((s.votes or {}).values()) for s in samples]
    assert columns.reasoned.tolist() == [bool(s.rationale) for s in samples]


@pytest.mark.parametrize("changes", [{"label": "awe"}, {"votes": [{"label": "awe", "count": 1}]}])
def test_a_label_that_is_no_candidate_is_refused_by_row(changes: dict[str, object], tmp_path: Path):
    table = pa.Table.from_pylist([row(1), row(2), row(3, **changes)], schema=SCHEMA)
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"row 2 \(row 3\): 'awe' is not among its candidates"):
        read_columns([tmp_path / "t.parquet"])
