"""A review of 300 predictions, and people who answer what it asks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from emocaliber.cli import main
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.runs.review import Review, open_review, start_review
from emocaliber.runs.review_record import ReviewSettings

LABELS = ("anger", "fear", "joy")


def rows_and_truth(n: int = 300, seed: int = 0) -> tuple[list[Prediction], dict[str, str]]:
    """Calibrated predictions without truth, and what people would say. Two rows are unreadable, one is labelled."""
    rng = np.random.default_rng(seed)
    rows, truth = [], {}
    for number in range(n):
        name, confidence, right = f"{number:03}.png", round(float(rng.beta(5, 1)), 2), str(rng.choice(LABELS))
        said: str | None = right if rng.random() < confidence else str(rng.choice(LABELS))
        state, given = State.OK, None
        if number < 2:
            said, state = None, State.MISSING_LABEL
        elif number == 2:
            given = right
        truth[name] = right
        rows.append(Prediction(name, "faces", "", name, given, said, confidence, state, Source.VERBALIZED, "m"))
    return rows, truth


TRUTH = rows_and_truth()[1]


def begun(predictions: Path, **settings: Any) -> Review:
    return start_review(predictions.parent / "review", predictions, ReviewSettings(0.05, 0.95, seed=1, **settings))


def answer_queue(review: Review) -> list[str]:
    names = [item.id for item in review.queue()]
    review.answer({name: TRUTH[name] for name in names})
    return names


def fill_in(folder: Path, only: int | None = None) -> None:
    """As a person does, in a spreadsheet, in place."""
    with (folder / "tasks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:only]:
        row["answer"] = TRUTH[row["id"]]
    with (folder / "tasks.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def commanded(predictions: Path) -> Review:
    """A review that the command started."""
    folder = predictions.parent / "commanded"
    assert main(["review", str(predictions), "--seed", "1", "--out", str(folder)]) == 0
    return open_review(folder)
