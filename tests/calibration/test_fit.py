"""Post-hoc maps of prediction rows: labels stay, rows stay, what was distorted is mended, task by task."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from emocaliber.calibration.cross_fitting import cross_validate
from emocaliber.calibration.fit import (
    FEWEST,
    KINDS,
    Kind,
    Signal,
    fit_recalibrator,
    isotonic,
    temperature_scaled,
)
from emocaliber.core.predictions import Prediction, Source, State

LABELS = ("happy", "sad", "angry")


def drawn(n: int, seed: int, task: str = "t", power: float = 2.0) -> list[Prediction]:
    """Rows whose distribution, probability and confidence are sharper than the truth: shares to the power."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        shares = random.dirichlet(np.full(3, 0.8))
        truth = LABELS[random.choice(3, p=shares)]
        sharp = shares**power / (shares**power).sum()
        top = int(sharp.argmax())
        rows.append(
            Prediction(f"{task}{seed}-{i}", task, "", str(i), truth, LABELS[top], round(float(sharp[top]), 2), State.OK,
                       Source.VERBALIZED, "m", distribution=dict(zip(LABELS, sharp.tolist(), strict=True)),
                       probability=float(sharp[top]))
        )  # fmt: skip
    return rows


def brier(rows: list[Prediction]) -> float:
    return float(np.mean([((row.confidence or 0.0) - (row.predicted == row.truth)) ** 2 for row in rows]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signal", ["confidence", "probability", "distribution"])
def test_each_map_of_each_signal_lowers_the_brier_score_of_unseen_rows(kind: Kind, signal: Signal):
    rows = drawn(1500, 1)
    mended = fit_recalibrator(drawn(1500, 0), signal, kind, per_task=True).apply(rows, "mended")
    assert brier(mended) < brier(rows) - 0.005
    assert [row.predicted for row in mended] == [row.predicted for row in rows]
    assert {row.source for row in mended} == {Source.POSTHOC}


def test_a_task_has_its_own_map_where_it_has_rows_enough_and_the_common_one_elsewhere():
    known = drawn(600, 0, "sharp", 3.0) + drawn(600, 1, "flat", 0.5) + drawn(FEWEST - 1, 2, "small")
    fitted = fit_recalibrator(known, "distribution", "temperature", per_task=True)
    assert set(fitted.tasks) == {"sharp", "flat"}
    assert fitted.tasks["sharp"].temperature == pytest.approx(3.0, rel=0.15)  # type: ignore[union-attr]
    assert fitted.tasks["flat"].temperature == pytest.approx(0.5, rel=0.15)  # type: ignore[union-attr]
    [row] = drawn(1, 3, "unseen")
    assert fitted.apply([row], "m")[0].confidence == fitted.apply([replace(row, task="small")], "m")[0].confidence


def test_a_row_without_the_signal_stays_and_does_not_gain_by_it():
    fitted = fit_recalibrator(drawn(100, 0), "probability", "beta", per_task=False)
    [good] = drawn(1, 1)
    bare = replace(good, probability=None, confidence=None, distribution=None, state=State.MISSING_CONFIDENCE)
    silent = replace(bare, predicted=None, state=State.EMPTY)
    rows = fitted.apply([replace(good, probability=None), bare, silent], "m")
    assert [row.confidence for row in rows] == [None] * 3
    assert [row.state for row in rows] == [State.MISSING_CONFIDENCE, State.MISSING_CONFIDENCE, State.EMPTY]


def test_the_label_probability_answers_for_a_confidence_that_could_not_be_read():
    fitted = fit_recalibrator(drawn(100, 0), "probability", "isotonic", per_task=False)
    [good] = drawn(1, 1)
    [row] = fitted.apply([replace(good, confidence=None, state=State.NOT_A_NUMBER)], "m")
    assert row.state is State.OK
    assert row.confidence is not None


def test_a_truth_outside_the_distribution_and_tasks_of_other_sizes_share_one_temperature():
    rows = drawn(300, 0) + [
        replace(row, task="two", distribution={"sad": 0.9, "happy": 0.1}, predicted="sad") for row in drawn(200, 1)
    ]
    fitted = fit_recalibrator(rows, "distribution", "temperature", per_task=False)
    assert fitted.overall.temperature > 1  # type: ignore[union-attr]


def test_the_maps_of_the_report_are_one_a_task():
    held, rows = drawn(400, 0), drawn(200, 1)
    assert brier(temperature_scaled(rows, held, "t")) < brier(rows)
    assert brier(isotonic(rows, held, "i")) < brier(rows)


def test_no_row_to_learn_from_is_an_error_that_names_the_signal():
    with pytest.raises(ValueError, match="a probability to fit"):
        fit_recalibrator([replace(row, probability=None) for row in drawn(3, 0)], "probability", "beta", per_task=True)


@pytest.mark.parametrize("kind", KINDS)
def test_cross_validation_agrees_with_unseen_rows_about_what_a_map_gains(kind: Kind):
    held, rows = drawn(2000, 0), drawn(6000, 1)
    result = cross_validate(held, "confidence", kind, per_task=True)
    mapped = fit_recalibrator(held, "confidence", kind, per_task=True).apply(rows, "m")
    assert result.helps
    assert result.before - result.after == pytest.approx(brier(rows) - brier(mapped), abs=0.01)


def test_rows_of_one_cluster_are_never_on_both_sides_of_a_fold():
    """A cluster's rows share their outcome; a map that saw any of them would be right about the others."""
    random, [row] = np.random.default_rng(0), drawn(1, 0)
    rows = []
    for cluster in range(100):
        stated, right = float(random.uniform()), bool(random.uniform() < 0.5)
        named = replace(row, cluster=str(cluster), confidence=stated, truth="joy", predicted="joy" if right else "fear")
        rows += [replace(named, id=f"{cluster}-{i}") for i in range(4)]
    assert cross_validate(rows, "confidence", "isotonic", per_task=False).after > 0.2


def test_copies_of_a_cluster_do_not_make_the_gain_more_certain():
    single = drawn(400, 0)
    copies = [replace(row, id=f"{row.id}-{i}") for row in single for i in range(5)]
    once = cross_validate(single, "confidence", "beta", per_task=False)
    five = cross_validate(copies, "confidence", "beta", per_task=False)
    assert five.error == pytest.approx(once.error, rel=0.05)


def test_rows_of_a_single_cluster_cannot_be_cross_validated():
    with pytest.raises(ValueError, match="at least two clusters"):
        cross_validate([replace(row, cluster="c") for row in drawn(20, 0)], "confidence", "beta", per_task=False)
