"""Prediction sets of rows: the promise in every task and group, what is too small, rows that say nothing, the file."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from emocaliber.calibration.files import holds_format, read_map, read_sets, row_hash, write_sets
from emocaliber.calibration.set_fitting import fit_sets
from emocaliber.calibration.sets import FORMAT, SetMap
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Held, Prediction, Source, State

LABELS = ("joy", "fear", "sadness", "anger")


def rows(n: int, seed: int, *, task: str = "faces", group: str = "", spread: float = 0.5) -> list[Prediction]:
    """Rows whose distribution is the truth; a fifth of a group "hard" is drawn from an even one instead."""
    random, made = np.random.default_rng(seed), []
    for number in range(n):
        shares = random.dirichlet([spread] * 4)
        true = np.full(4, 0.25) if group == "hard" and number % 5 else shares
        votes = random.multinomial(5, true)
        made.append(
            Prediction(
                f"{task}-{group}-{seed}-{number}", task, group, "", LABELS[random.choice(4, p=true)],
                LABELS[shares.argmax()], float(shares.max()), State.OK, Source.LOGPROB, "model",
                {label: int(count) for label, count in zip(LABELS, votes, strict=True)},
                dict(zip(LABELS, shares.tolist(), strict=True)),
            )
        )  # fmt: skip
    return made


def fitted(calibration: list[Prediction], **options: object) -> tuple[SetMap, list[str]]:
    return fit_sets(calibration, [row_hash(row) for row in calibration], coverage=0.9, **options)  # type: ignore[arg-type]


def covered(sets: SetMap, test: list[Prediction]) -> float:
    held = [row.truth in (row.prediction_set or ()) for row in sets.apply(test)]
    return float(np.mean(held))


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
@pytest.mark.parametrize("signal", ["distribution", "confidence"])
def test_the_promise_holds_on_new_rows(score: str, signal: str) -> None:
    sets, _ = fitted(rows(2000, 0), score=score, signal=signal)
    assert abs(covered(sets, rows(3000, 1)) - 0.9) < 0.03


def test_a_group_that_the_model_misjudges_keeps_its_promise_only_with_a_limit_of_its_own() -> None:
    calibration = rows(1500, 0, group="easy") + rows(500, 1, group="hard")
    hard = rows(2000, 2, group="hard")
    by_task, _ = fitted(calibration)
    by_group, _ = fitted(calibration, per="group")
    assert covered(by_task, hard) < 0.8
    assert abs(covered(by_group, hard) - 0.9) < 0.04


def test_a_small_group_takes_the_limit_of_its_task_and_a_small_task_the_pooled_one() -> None:
    calibration = rows(300, 0, group="large") + rows(20, 1, group="small") + rows(30, 2, task="drawings")
    sets, notes = fitted(calibration, per="group")
    assert set(sets.tasks["faces"].groups) == {"large"}
    assert sets.tasks["drawings"].limit is None
    assert sum("fewer than 50" in note for note in notes) == 2
    assert all(row.prediction_set for row in sets.apply(rows(5, 3, task="drawings")))


def test_a_drawn_rater_is_held() -> None:
    sets, _ = fitted(rows(1500, 0), holds=Held.RATER)
    test = sets.apply(rows(3000, 1))
    shares = [sum((row.votes or {})[label] for label in row.prediction_set or ()) / 5 for row in test]
    assert abs(np.mean(shares) - 0.9) < 0.02
    assert test[0].set_holds is Held.RATER


def test_a_raters_answer_is_held_on_rows_without_a_label_too() -> None:
    calibration = rows(1500, 0)
    unlabelled = [replace(row, truth=None) for row in calibration]
    assert fitted(unlabelled, holds=Held.RATER)[0].pooled == fitted(calibration, holds=Held.RATER)[0].pooled


def test_sets_that_hold_the_label_are_fitted_to_rows_that_have_one() -> None:
    calibration = rows(300, 0)
    sets, notes = fitted([*calibration, *(replace(row, id=f"u{row.id}", truth=None) for row in calibration[:40])])
    assert sets.pooled.rows == 300
    assert notes == ["40 of 340 rows cannot be used"]


def test_rows_that_say_nothing_hold_everything_and_other_tasks_get_no_set() -> None:
    sets, _ = fitted(rows(200, 0))
    silent = Prediction("x", "faces", "", "", "joy", None, None, State.EMPTY, Source.LOGPROB, "model")
    assert sets.apply([silent])[0].prediction_set == LABELS
    assert sets.apply(rows(1, 1, task="voices"))[0].prediction_set is None


def test_no_set_is_empty_and_the_same_row_has_the_same_set() -> None:
    sure = rows(400, 0, spread=0.05)
    sets, _ = fitted(sure, score="aps")
    test = rows(500, 1, spread=0.05)
    first, again = sets.apply(test), sets.apply(test[::-1])[::-1]
    assert all(row.prediction_set for row in first)
    assert first == again
    assert not sets.held(test, "faces", empty=True).any(1).all()


def test_rows_of_a_cluster_are_one_unit() -> None:
    calibration = [row for row in rows(40, 0) for _ in range(10)]
    together = [
        Prediction(f"{row.id}-{n}", row.task, "", row.id, row.truth, row.predicted, row.confidence, row.state,
                   row.source, row.method, row.votes, row.distribution)
        for n, row in enumerate(calibration)
    ]  # fmt: skip
    sets, _ = fitted(together)
    assert (sets.pooled.rows, sets.pooled.units) == (400, 40)


def test_rows_that_cannot_teach_sets_are_refused() -> None:
    bare = [Prediction("1", "t", "", "", "joy", "joy", 0.5, State.OK, Source.LOGPROB, "m", None, {"joy": 0.5})]
    with pytest.raises(ValueError, match="no row has a distribution and votes"):
        fitted(bare, holds=Held.RATER)


def test_the_file_gives_the_same_sets_back(tmp_path: Path) -> None:
    sets, _ = fitted(rows(300, 0), signal="confidence", per="group")
    write_sets(tmp_path / "sets.json", sets)
    again = read_sets(tmp_path / "sets.json")
    assert again.apply(rows(50, 1)) == sets.apply(rows(50, 1))
    assert holds_format(tmp_path / "sets.json", FORMAT)
    with pytest.raises(UserError, match="'format' is 'emocaliber prediction sets 1'"):
        read_map(tmp_path / "sets.json")
