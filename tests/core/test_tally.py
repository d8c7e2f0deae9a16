"""Rows that are counted as they stream by give the scorecard of the rows themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from emocaliber.core import tally as tallies
from emocaliber.core.errors import UserError
from emocaliber.core.prediction_files import write_rows
from emocaliber.core.prediction_table import PredictionTable
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.tally import tally
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.runs import scoring
from emocaliber.runs.scoring import score_files

LABELS = ("joy", "anger", "fear", "awe")


def rows(n: int, seed: int = 0, pictures: int = 0) -> list[Prediction]:
    """Answers in three tasks, some unread; of `pictures` pictures where that is not 0."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        confidence, truth = float(rng.choice([0.3, 0.5, 0.8, 0.9, 1.0])), LABELS[rng.integers(4)]
        predicted = truth if rng.random() < confidence**2 else LABELS[rng.integers(4)]
        unread = rng.random() < 0.06
        name = f"picture-{number}"
        cluster = f"p{number % pictures}" if pictures else name
        made.append(
            Prediction(name, f"task {number % 3}", "web" if number % 2 else "lab", cluster, truth,
                       None if unread else predicted, None if unread else confidence,
                       State.TRUNCATED if unread else State.OK, Source.VERBALIZED, "m")
        )  # fmt: skip
    return made


def parts_of(made: list[Prediction], folder: Path, number: int = 3) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"part-{part}.parquet" for part in range(number)]
    for part, path in enumerate(paths):
        write_rows(path, made[part::number])
    return paths


def without_notes(card: Scorecard) -> str:
    return replace(card, notes=[]).to_json()


def test_the_scorecard_is_that_of_the_rows_intervals_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tallies, "BATCH", 500)
    made = rows(4_000)
    tables, notes = tally(parts_of(made, tmp_path))
    assert len(tables["m"]) < 500
    assert "4,000 rows were counted" in notes[0]
    assert without_notes(build_scorecard(tables)) == without_notes(build_scorecard({"m": made}))


def test_a_folder_of_many_rows_is_counted_and_smaller_ones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parts_of(rows(600), tmp_path / "parts")
    held = score_files([tmp_path / "parts"])
    monkeypatch.setattr(scoring, "LARGE", 599)
    counted = score_files([tmp_path / "parts"])
    assert without_notes(counted) == without_notes(held)
    assert any("600 rows were counted while streaming" in note for note in counted.notes)
    assert not any("counted while streaming" in note for note in held.notes)


def test_rows_of_a_cluster_stay_together_wherever_they_stand(tmp_path: Path):
    made = rows(6_000, pictures=1_500)
    copies = [structs.replace(row, id=f"{row.id}-{copy}", cluster=row.id) for row in rows(1_500) for copy in range(4)]
    for which in (made, copies):
        [counted], notes = tally(parts_of(which, tmp_path))[0].values(), tally(parts_of(which, tmp_path))[1]
        assert np.unique(counted.cluster).size == tallies.UNITS
        assert any("256 groups of clusters" in note for note in notes)
        by_group = build_scorecard({"m": counted})
        by_cluster = build_scorecard({"m": PredictionTable.from_predictions(which)})
        for name in ("brier", "accuracy", "macro_f1", "ece"):
            assert by_group[name].value == pytest.approx(by_cluster[name].value, abs=1e-12)
        width = [(card["brier"].high or 0) - (card["brier"].low or 0) for card in (by_group, by_cluster)]
        assert width[0] == pytest.approx(width[1], rel=0.25)


def test_confidences_of_too_many_values_are_rounded_and_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tallies, "MOST_CONFIDENCES", 300)
    monkeypatch.setattr(tallies, "BATCH", 200)
    rng = np.random.default_rng(0)
    made = [structs.replace(row, confidence=row.confidence and float(rng.random())) for row in rows(900)]
    [counted], notes = tally(parts_of(made, tmp_path))[0].values(), tally(parts_of(made, tmp_path))[1]
    assert any("rounded to 4 places" in note for note in notes)
    stated = [round(row.confidence, 4) for row in made if row.confidence is not None]
    assert np.nansum(counted.confidence * counted.weight) == pytest.approx(sum(stated))
    assert int(counted.weight.sum()) == 900


def test_rows_without_a_label_are_counted_apart_and_odd_ones_named(tmp_path: Path):
    made = [structs.replace(row, truth=None) if number < 10 else row for number, row in enumerate(rows(200))]
    tables, notes = tally(parts_of(made, tmp_path))
    assert tables["m"].count(np.ones(len(tables["m"]), bool)) == 190
    assert any("10 rows have no label" in note for note in notes)
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "part-0.parquet"
    table = pq.read_table(path)
    wrong = pa.array([1.5, *table["confidence"].to_pylist()[1:]])
    pq.write_table(table.set_column(table.column_names.index("confidence"), "confidence", wrong), path)
    with pytest.raises(UserError, match=r"part-0.parquet, row 1: 'confidence' must be from 0 to 1"):
        tally([path])
