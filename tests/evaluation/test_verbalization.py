"""Each step's loss is where it was put: rows are made whose every loss is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.prompting import LEVELS
from emocaliber.evaluation.verbalization import (
    ANSWER,
    FLOOR,
    MAPPED,
    MEAN,
    OWN,
    ROUNDED,
    STATED,
    TEACHER,
    ReadOuts,
    pooled,
    squared_errors,
    steps_of,
)

LABELS = ("joy", "fear")
N = 1500
CHANCE = np.random.default_rng(0).uniform(0.5, 1.0, 2 * N)
RIGHT = np.random.default_rng(1).random(2 * N) < CHANCE
ADDED = 0.04
"""The variance of noise that is put somewhere, so its loss in Brier score: what is known is CHANCE itself."""


def noisy(seed: int) -> np.ndarray:
    """CHANCE with noise of mean 0 and variance ADDED, within [0, 1] enough to be clipped hardly ever."""
    spread = np.sqrt(ADDED)
    return np.clip(CHANCE + np.random.default_rng(seed).choice([-spread, spread], 2 * N), 0, 1)


def loss_of(values: np.ndarray) -> float:
    """What stating these instead of CHANCE loses, on the test rows."""
    return float(((values - CHANCE) ** 2)[N:].mean())


def rows(confidence: np.ndarray, source: Source, *, swapped: np.ndarray | None = None) -> list[Prediction]:
    """One row a sample: the first half is fresh, the rest test; the answer is joy, or fear where `swapped`."""
    made = []
    for n, value in enumerate(confidence):
        other = swapped is not None and bool(swapped[n])
        shares = {"joy": float(value), "fear": float(1 - value)} if source is Source.LOGPROB else None
        made.append(
            Prediction(
                id=str(n), task="t", group="", cluster=str(n), truth=LABELS[0 if RIGHT[n] else 1],
                predicted=LABELS[1 if other else 0], confidence=float(value), state=State.OK, source=source,
                method="m", distribution=shares,
            )
        )  # fmt: skip
    return made


def losses(
    *,
    stated: np.ndarray = CHANCE,
    expected: np.ndarray | None = CHANCE,
    probability: np.ndarray = CHANCE,
    teacher: np.ndarray | None = CHANCE,
    swapped: np.ndarray | None = None,
) -> dict[str, float]:
    """Each step's change."""
    test, fresh = (
        ReadOuts(
            said[part],
            known[part],
            None if mean is None else mean[part],
            None if taught is None else taught[part],
        )
        for said, known, mean, taught in [
            (
                rows(stated, Source.VERBALIZED, swapped=swapped),
                rows(probability, Source.LOGPROB),
                None if expected is None else rows(expected, Source.EXPECTED, swapped=swapped),
                None if teacher is None else rows(teacher, Source.LOGPROB),
            )
        ]
        for part in (slice(N, None), slice(None, N))
    )
    steps = steps_of(squared_errors(test, fresh))
    assert steps[0].name == FLOOR
    assert steps[-1].above_floor is not None
    for step in steps[1:]:
        assert step.change is not None
        assert step.change[1] <= step.change[0] <= step.change[2]
    total = sum(step.change[0] for step in steps[1:] if step.change)
    assert total == pytest.approx(steps[-1].above_floor[0]), "the steps add up"
    return {step.name: step.change[0] for step in steps[1:] if step.change}


def nothing_lost_but(found: dict[str, float], *names: str) -> None:
    for name, change in found.items():
        assert name in names or abs(change) < 0.006, name


def test_where_nothing_is_lost_every_step_is_near_0() -> None:
    nothing_lost_but(losses())


@pytest.mark.parametrize("place", ["probability of the question", "learning", "reading"])
def test_noise_is_lost_at_the_step_where_it_enters(place: str) -> None:
    values = noisy(2)
    lost = loss_of(values)
    assert lost > 0.03
    if place == "reading":
        found = losses(stated=values)
        assert found[STATED] == pytest.approx(lost, abs=0.012)
        nothing_lost_but(found, STATED, MAPPED)
        assert found[MAPPED] < -0.01, "a map regains some"
    elif place == "learning":
        found = losses(stated=values, expected=values)
        assert found[MEAN] == pytest.approx(lost, abs=0.012)
        nothing_lost_but(found, MEAN, MAPPED)
    else:  # the teacher knows what the model under its own question does not
        found = losses(probability=values, stated=values, expected=values)
        assert found[TEACHER] < -0.005, "the floor is of the trained model's own answers"
        assert found[OWN] > 0.02
        nothing_lost_but(found, TEACHER, OWN, MEAN, MAPPED)


def test_a_wrong_scale_is_regained_by_the_map_and_lost_where_it_is_stated() -> None:
    too_low = CHANCE - 0.2
    found = losses(stated=too_low)
    assert found[STATED] == pytest.approx(0.04, abs=0.012)
    assert found[MAPPED] == pytest.approx(-0.04, abs=0.012)
    nothing_lost_but(found, STATED, MAPPED)


def test_the_levels_cost_what_rounding_costs() -> None:
    levels = np.array(LEVELS)
    rounded = levels[np.abs(CHANCE[:, None] - levels).argmin(axis=1)]
    found = losses(stated=rounded, expected=rounded)
    assert loss_of(rounded) == pytest.approx(0.05**2 / 12, rel=0.1)
    nothing_lost_but(found)


def test_another_answer_is_a_step_of_its_own() -> None:
    """Half of the rows state the less likely label, and its chance: the confidence is right, the answer is not."""
    swapped = np.random.default_rng(3).random(2 * N) < 0.5
    other = np.where(swapped, 1 - CHANCE, CHANCE)
    found = losses(stated=other, expected=other, swapped=swapped)
    nothing_lost_but(found)  # 1 - p of the other label has the Brier score of p
    same = losses(stated=CHANCE, expected=CHANCE, swapped=swapped)
    assert same[MEAN] > 0.1, "but stating the first label's chance of the second is lost when it is stated"


def test_steps_that_were_not_read_are_left_out_and_their_loss_is_in_the_next() -> None:
    values = noisy(4)
    found = losses(stated=values, expected=None, teacher=None)
    assert list(found) == [OWN, ANSWER, ROUNDED, STATED, MAPPED]
    assert found[STATED] == pytest.approx(loss_of(values), abs=0.012)


def test_an_answer_that_cannot_be_read_costs_1_where_it_is_stated() -> None:
    made = ReadOuts(rows(CHANCE, Source.VERBALIZED)[N:], rows(CHANCE, Source.LOGPROB)[N:])
    fresh = ReadOuts(rows(CHANCE, Source.VERBALIZED)[:N], rows(CHANCE, Source.LOGPROB)[:N])
    silent = [replace(row, predicted=None, confidence=None, state=State.EMPTY) for row in made.stated]
    model = squared_errors(ReadOuts(silent, made.probability), fresh)
    assert set(model.errors[STATED]) == {1.0}
    assert model.errors[ROUNDED].mean() < 0.2
    mute = [replace(row, predicted=None, confidence=None, state=State.EMPTY) for row in fresh.stated]
    assert MAPPED not in squared_errors(made, ReadOuts(mute, fresh.probability)).errors, "nothing to fit a map on"


def test_models_of_several_seeds_are_pooled_and_a_shared_cluster_stays_one() -> None:
    half = slice(N, None), slice(None, N)
    test, fresh = (
        ReadOuts(rows(noisy(5), Source.VERBALIZED)[part], rows(CHANCE, Source.LOGPROB)[part]) for part in half
    )
    one = squared_errors(test, fresh)
    two = pooled([one, one])
    single, double = (next(step for step in steps_of(model) if step.name == STATED) for model in (one, two))
    assert single.change is not None
    assert double.change == pytest.approx(single.change, abs=1e-5), "the same rows twice are no more evidence"


def test_rows_of_other_samples_are_refused() -> None:
    known: Sequence[Prediction] = rows(CHANCE, Source.LOGPROB)
    said = rows(CHANCE, Source.VERBALIZED)
    with pytest.raises(ValueError, match="'1500' of task 't' is not in every read-out"):
        squared_errors(ReadOuts(said[N:], known[:10]), ReadOuts(said[:N], known[:N]))
