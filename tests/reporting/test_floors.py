"""The table of floors says what each costs, and no column of it is cut where the terminal is narrow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from msgspec.structs import replace
from rich.console import Console

from emocaliber.core.predictions import SIGNALS, Prediction, Source, State
from emocaliber.evaluation.floors import (
    ASKED_WITH,
    MOST_RELATIVE,
    QUESTIONS,
    Floors,
    cross_fitted_floors,
    questions_of,
)
from emocaliber.generation.relative import MATCHES
from emocaliber.generation.signals import DEGREES, DRAWS, PLACES
from emocaliber.reporting.document import Document, Table
from emocaliber.reporting.floors import floors_table
from emocaliber.reporting.terminal import render_terminal

LABELS = ("joy", "fear", "anger", "calm")


def rows(*signals: str) -> list[Prediction]:
    rng = np.random.default_rng(0)
    made = []
    for n in range(120):
        chance = float(rng.uniform(0.4, 1))
        shares = {"joy": chance, **dict.fromkeys(LABELS[1:], (1 - chance) / 3)}
        made.append(
            Prediction(
                id=str(n), task="t", group="", cluster=str(n), truth=LABELS[int(rng.random() > chance)],
                predicted="joy", confidence=chance, state=State.OK, source=Source.LOGPROB, method="m",
                distribution=shares, signals=dict.fromkeys(signals, chance), tokens=9, questions=5,
            )
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def floors() -> Floors:
    return cross_fitted_floors(rows("p-true", "per-candidate", "agreement", "weighted"))


def test_each_floor_has_its_questions(floors: Floors) -> None:
    assert floors.questions["temperature of the distribution"] == 1
    assert floors.questions["p-true, logistic"] == 2
    assert floors.questions["per-candidate, logistic"] == 1 + len(LABELS)
    assert floors.questions["weighted, logistic"] == 1 + DRAWS
    assert floors.questions["all signals together"] == 1 + 1 + len(LABELS) + DRAWS, "the draws are counted once"


def test_what_is_counted_is_what_is_asked() -> None:
    assert (QUESTIONS["agreement"], QUESTIONS["weighted"], QUESTIONS["turned"]) == (DRAWS, DRAWS, len(DEGREES))
    assert QUESTIONS["along"] == len(PLACES)
    assert (QUESTIONS["relative"], MOST_RELATIVE) == (MATCHES, 2 * MATCHES)
    assert set(SIGNALS) - {"hidden", "per-candidate", "pairwise"} == set(QUESTIONS) - set(ASKED_WITH)
    assert questions_of("signals", rows("along", "along-rise")) == 1 + len(PLACES), (
        "both numbers come of the same three"
    )
    assert questions_of("pairwise", rows()) == len(LABELS)
    assert questions_of("hidden", rows()) == 1


@pytest.mark.parametrize(("asked", "relative"), [(18, 17), (10, 9), (7, 6), (40, 17), (None, 9)])
def test_comparisons_of_rows_cost_what_was_asked_within_a_run_or_against_another(
    asked: int | None, relative: int
) -> None:
    """One question of the row's is the answer itself, and one is p-true's."""
    compared = [replace(row, questions=asked) for row in rows("p-true", "relative")]
    assert questions_of("relative", compared) == relative
    assert questions_of("p-true", compared) == 2
    assert questions_of("signals", compared) == relative + 1


def test_the_caption_has_the_tokens_and_questions_of_the_rows(floors: Floors) -> None:
    table = floors_table(floors, floors.scorecard(replicates=20))
    assert "questions 5, generated tokens 9" in table.caption
    named = {row[0].text: row[-1].text for row in table.rows}
    assert named["p-true, logistic"] == "2"
    assert named["the confidence as it is"] == "1"


@pytest.mark.parametrize("width", [80, 60, 200])
def test_no_column_is_cut_where_the_terminal_is_narrow(floors: Floors, width: int) -> None:
    table: Table = floors_table(floors, floors.scorecard(replicates=20))
    console = Console(width=width, record=True, file=io.StringIO())
    for part in render_terminal(Document("Floors", [table], [])):
        console.print(part)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    for title in table.header:
        assert title.rstrip(" ↑↓") in text, title
    brier = table.rows[0][4].detail.split(" to ")[1].replace("+0.", "+.").replace("−0.", "−.")
    assert brier in text
    assert text.count("Floor ") == {80: 2, 60: 3, 200: 1}[width]
