"""A table of samples equals the samples that are read one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.convert import SCHEMA
from emocaliber.data.embedded import FILES, samples_in
from emocaliber.data.parquet import read_samples
from emocaliber.data.sample_table import (
    SampleTable,
    files_of,
    first_without_rationale,
    in_splits,
    labelled_and_rated,
    questions,
    summaries,
)

SPLITS = ("train", "emoji:known")


def row(number: int, **changes: object) -> dict[str, object]:
    stored = {"bytes": b"x" * 10, "path": None} if number % 3 else {"bytes": None, "path": f"{number}.png"}
    votes = None if number % 4 == 0 else [{"label": "joy", "count": number % 2}, {"label": "fear", "count": 0}]
    return {
        "id": f"row {number}", "image": stored, "task": ("a", "b")[number % 2], "label": ("joy", None)[number % 2],
        "candidates": ["joy", "fear"] if number % 5 else ["joy", "fear", "awe"], "group": "", "licence": "CC0-1.0",
        "split": ("train", "test")[number % 3 == 2], "cluster": f"c{number // 2}", "votes": votes,
        "ratings": '{"kind":"counts","raters":3}', "second_votes": [], "label_rule": "given",
        "rationale": ("They smile.", None, "")[number % 3],
    } | changes  # fmt: skip


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    table = pa.Table.from_pylist([row(number) for number in range(50)], schema=SCHEMA)
    pq.write_table(table, tmp_path / "mixed.parquet", row_group_size=7)
    return tmp_path / "mixed.parquet"


def both(files: list[Path]) -> tuple[SampleTable, list[Sample]]:
    return SampleTable(files), [sample for file in files for sample in read_samples(file)]


def test_rows_of_several_files_are_equal_by_place_and_in_order(mixed: Path):
    table, samples = both([mixed, FILES["emoji"], mixed])
    assert list(table) == samples
    places = [0, 3, 49, 50, 700, len(samples) - 1]
    assert [table[place] for place in places] == [samples[place] for place in places]
    assert list(table[40:60]) == samples[40:60]
    assert list(table.take([5, 2, 900])) == [samples[5], samples[2], samples[900]]


def test_what_rows_are_chosen_by_is_the_same_as_of_samples(mixed: Path):
    table, samples = both([mixed, FILES["emoji"]])
    assert list(in_splits(table, SPLITS)) == in_splits(samples, SPLITS)
    assert list(summaries(table[30:80])) == list(summaries(samples[30:80]))
    assert questions(table) == questions(samples)
    assert files_of(table.take([9, 3, 4])) == files_of([samples[9], samples[3], samples[4]]) != []
    for of_table, of_samples in zip(labelled_and_rated(table), labelled_and_rated(samples), strict=True):
        assert np.array_equal(of_table, of_samples)


def test_the_first_row_without_a_rationale_is_named(mixed: Path):
    table, samples = both([FILES["emoji"], mixed])
    without = first_without_rationale(table)
    assert without == f"{FILES['emoji']}: row 0 ({samples[0].id})"
    reasoned = [n for n, sample in enumerate(samples) if sample.rationale]
    assert len(reasoned) == 17
    assert first_without_rationale(table.take(reasoned)) is None
    assert first_without_rationale(table.take([*reasoned, 994 + 7])) == f"{mixed}: row 7 (row 7)"
    assert first_without_rationale(samples[994 + 7 :]) == "row 7"


def test_no_row_and_no_file(tmp_path: Path):
    pq.write_table(SCHEMA.empty_table(), tmp_path / "empty.parquet")
    empty = SampleTable([tmp_path / "empty.parquet"])
    assert (list(empty), list(empty.in_splits(["train"])), empty.questions, empty.files) == ([], [], [], [])
    with pytest.raises(UserError, match="no such file"):
        samples_in([str(tmp_path / "none.parquet")])
