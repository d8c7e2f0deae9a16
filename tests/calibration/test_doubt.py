"""Two reasons for doubt: the numbers mean what they say, false alarms keep their rate, pictures get their reason."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from emocaliber.calibration.doubt import DoubtMap, fit_doubt, raters_differ
from emocaliber.calibration.files import read_doubt, row_hash, write_doubt
from emocaliber.core.predictions import Prediction, Reason, Source, State

LABELS = ("joy", "fear", "sadness", "anger")


def rows(n: int, seed: int, *, sharpened: float = 2.0, votes: bool = True) -> list[Prediction]:
    """Rows whose model is surer than its raters: its distribution is the truth sharpened."""
    random, made = np.random.default_rng(seed), []
    for number in range(n):
        true = random.dirichlet([0.6] * 4)
        said = true**sharpened / (true**sharpened).sum()
        counts = random.multinomial(10, true)
        made.append(
            Prediction(
                f"{seed}-{number}", "faces", "", "", LABELS[counts.argmax()], LABELS[said.argmax()], float(said.max()),
                State.OK, Source.LOGPROB, "model",
                {k: int(c) for k, c in zip(LABELS, counts, strict=True)} if votes else None,
                dict(zip(LABELS, said.tolist(), strict=True)),
            )
        )  # fmt: skip
    return made


def features(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(shift, 1, (n, 6)) @ random.normal(0, 1, (6, 6)).round(0).clip(0.5, 1)


def fitted(calibration: list[Prediction], n: int = 400) -> DoubtMap:
    marks = [row_hash(row) for row in calibration]
    return fit_doubt(calibration, marks, features(1000, 1), features(n, 2), model="m", false_alarms=0.1)[0]


def test_too_few_majorities_for_a_threshold_call_nothing_ambiguous_and_the_file_can_be_read(tmp_path: Path) -> None:
    made = rows(60, 3)
    disputed = [msgspec.structs.replace(row, votes={"joy": 2, "fear": 2}) for row in made[5:]]
    agreed = [msgspec.structs.replace(row, votes={"joy": 4}) for row in made[:5]]
    doubt, notes = fit_doubt(agreed + disputed, [row_hash(row) for row in made], false_alarms=0.05)
    assert any("5 rows with a majority are too few" in note for note in notes)
    write_doubt(tmp_path / "doubt.json", doubt)
    read = read_doubt(tmp_path / "doubt.json")
    assert read == doubt
    assert Reason.AMBIGUOUS not in {row.reason for row in read.apply(made)}


def test_doubt_about_people_is_how_often_two_raters_differ() -> None:
    doubt, test = fitted(rows(2000, 0)), rows(4000, 1)
    said, seen = doubt.people_differ(test), raters_differ(test)
    for low in np.arange(0, 0.8, 0.2):
        inside = (said >= low) & (said < low + 0.2)
        assert abs(said[inside].mean() - seen[inside].mean()) < 0.04


def test_pairs_of_raters_are_counted_without_a_rater_beside_himself() -> None:
    two = Prediction("1", "t", "", "", "joy", None, None, State.EMPTY, Source.LOGPROB, "m", {"joy": 1, "fear": 1})
    assert raters_differ([two]) == pytest.approx([1.0])


def test_of_familiar_pictures_no_more_are_called_unfamiliar_than_promised() -> None:
    random, alarms = np.random.default_rng(0), []
    one = rows(1, 3)
    for _ in range(200):
        train, known, new = (random.normal(0, 1, (n, 4)) for n in (200, 40, 50))
        doubt, _ = fit_doubt(rows(60, 0), [], train, known, false_alarms=0.1)
        alarms.append(np.mean([row.reason is Reason.UNFAMILIAR for row in doubt.apply(one * 50, new)]))
    assert np.mean(alarms) <= 0.1 + 3 * np.std(alarms) / np.sqrt(200)


def test_of_pictures_with_a_majority_no_more_are_called_ambiguous_than_promised() -> None:
    doubt, test = fitted(rows(3000, 0)), rows(3000, 1)
    agreed = [row for row in test if 2 * max((row.votes or {}).values()) > 10]
    called = [row.reason is Reason.AMBIGUOUS for row in doubt.apply(agreed)]
    assert np.mean(called) < 0.13


def test_a_picture_that_is_unlike_all_others_is_unfamiliar_however_sure_the_model_is() -> None:
    doubt = fitted(rows(500, 0))
    made = doubt.apply(rows(50, 5), features(50, 2, shift=20))
    assert all(row.reason is Reason.UNFAMILIAR and (row.doubt_unfamiliar or 0) > 0.99 for row in made)


def test_what_cannot_be_said_is_left_out() -> None:
    silent = Prediction("x", "t", "", "", None, None, None, State.IMAGE_ERROR, Source.LOGPROB, "m")
    [row] = fitted(rows(100, 0)).apply([silent], np.full((1, 6), np.nan))
    assert (row.doubt_people, row.doubt_unfamiliar, row.reason) == (None, None, None)
    without, notes = fit_doubt(rows(100, 0, votes=False), [])
    assert without.people is None
    assert len(notes) == 2


def test_the_file_gives_the_same_doubts_back(tmp_path: Path) -> None:
    doubt = fitted(rows(200, 0))
    write_doubt(tmp_path / "doubt.json", doubt)
    test = rows(20, 1)
    assert read_doubt(tmp_path / "doubt.json").apply(test, features(20, 4)) == doubt.apply(test, features(20, 4))
