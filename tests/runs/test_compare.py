"""Another method's predictions stand beside a run's: matched by the samples' ids, in the run's tasks and labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import write_predictions
from emocaliber.reading.tables import RECOGNISED
from emocaliber.runs.compare import _others
from tests.prediction_rows import predictions

RUN = predictions("stage 3, stated", n=20, per_cluster=2)


def table(folder: Path, lines: list[str], header: str = "id,truth,predicted,confidence") -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_table_takes_task_group_and_cluster_from_the_runs_row_of_its_id(tmp_path: Path):
    path = table(tmp_path, [f"{row.id},{row.truth.upper()},{row.truth.title()},0.9" for row in RUN])
    rows = _others([path], RECOGNISED, RUN)["mine"]
    for row, own in zip(rows, RUN, strict=True):
        assert (row.id, row.task, row.group, row.cluster, row.truth) == (
            own.id,
            own.task,
            own.group,
            own.cluster,
            own.truth,
        )
        assert (row.predicted, row.confidence) == (own.truth, 0.9)


def test_a_prediction_file_is_taken_as_it_is(tmp_path: Path):
    rows = predictions("other", n=20)
    write_predictions(tmp_path / "other.jsonl", rows)
    assert _others([tmp_path / "other.jsonl"], RECOGNISED, RUN) == {"other": rows}


@pytest.mark.parametrize(
    ("header", "line", "sentence"),
    [
        ("id,truth,predicted,confidence", "nobody,joy,joy,0.9", "id 'nobody' is not that of a test sample of the run"),
        ("id,truth,predicted,confidence", "emoji/0,other,joy,0.9", "id 'emoji/0' is '.*' in the run"),
        ("id,correct,confidence", "emoji/0,1,0.9", "name --label-column and --prediction-column"),
    ],
)
def test_rows_of_other_samples_and_rows_without_labels_are_refused(
    tmp_path: Path, header: str, line: str, sentence: str
):
    with pytest.raises(UserError, match=sentence):
        _others([table(tmp_path, [line], header)], RECOGNISED, RUN)
