"""The audit: right values in every group, groups found that differ, and no more false alarms than promised."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from emocaliber.evaluation import audit, ece
from emocaliber.evaluation.grouping import group_rows
from emocaliber.evaluation.max_t import max_t

RNG = np.random.default_rng(0)


def _world(seed: int, n: int, per: int = 1, worse: float = 0.0) -> tuple[np.ndarray, ...]:
    """Confidence, correctness, camera and cluster; answers about one camera in five are right less often."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n // per), per)
    confidence = np.repeat(rng.choice([0.6, 0.8, 0.9], n // per), per)
    camera = np.repeat(rng.choice(5, n // per), per)
    luck = np.where(np.repeat(rng.random(n // per) < 0.6, per), np.repeat(rng.random(n // per), per), rng.random(n))
    return confidence, luck < confidence - worse * (camera == 4), camera, cluster


def test_missing_values_of_any_kind_form_one_group():
    assert group_rows("camera", ["a", None, float("nan"), " ", "a"]).names == ("a", "no value")
    assert group_rows("age", [31, None, float("nan"), ""]).names == ("31", "no value")


def test_values_of_a_group_are_those_of_its_rows_alone():
    confidence, correct, camera, _ = _world(0, 300)
    answered = RNG.random(300) > 0.1
    found = audit(confidence, correct, {"camera": camera}, answered=answered)
    assert [group.name for group in found.groups] == ["0", "1", "2", "3", "4"]
    for code, group in enumerate(found.groups):
        rows = (camera == code) & answered
        assert (group.n, group.n_answered) == ((camera == code).sum(), rows.sum())
        assert group.values["accuracy"].value == pytest.approx((correct & rows).sum() / (camera == code).sum())
        gap = confidence[rows].mean() - correct[rows].mean()
        assert group.values["overconfidence"].value == pytest.approx(gap)
        assert group.values["ece"].value >= ece(confidence[rows], correct[rows]) * rows.sum() / group.n
        rest = ~(camera == code) & answered
        assert group.overconfidence.value == pytest.approx(gap - confidence[rest].mean() + correct[rest].mean())


def test_a_group_that_differs_is_named_and_is_the_worst():
    confidence, correct, camera, cluster = _world(1, 1200, per=2, worse=0.3)
    found = audit(confidence, correct, {"hour": RNG.integers(0, 24, 1200), "camera": camera}, clusters=cluster)
    worst = found.worst("overconfidence")
    assert (worst.column, worst.name) == ("camera", "4")
    assert worst.overconfidence.p_value <= 0.01
    assert found.worst("accuracy").name == "4"
    assert found.tests == 2 * len(found.groups)
    hours = [group for group in found.groups if group.column == "hour"]
    assert len(hours) == 4
    assert found.edges["hour"][0] == 0
    assert min(group.accuracy.p_value for group in hours) > 0.05


@pytest.mark.parametrize(("n", "per", "straddling"), [(150, 1, False), (240, 3, False), (240, 3, True)])
def test_where_no_group_differs_any_is_named_as_seldom_as_promised(n: int, per: int, straddling: bool):
    alarms = 0
    for seed in range(80):
        confidence, correct, camera, cluster = _world(seed, n, per)
        other = np.random.default_rng(seed + 1000).integers(0, 4, n)
        columns = [np.unique(camera, return_inverse=True)[1], *([other] if straddling else [])]
        values = np.column_stack((correct, confidence - correct))
        tested = max_t(values, np.ones((n, 2), bool), columns, cluster if per > 1 else None, minimum=15,
                       replicates=99, seed=seed)  # fmt: skip
        alarms += np.nanmin(np.concatenate([each.p_value.ravel() for each in tested] + [[1.0]])) <= 0.1
    assert binomtest(alarms, 80, 0.1, alternative="greater").pvalue > 0.001


def test_rows_that_stand_for_one_picture_are_no_proof():
    """Every picture ten times: taken for rows, chance differences of pictures are named."""
    alone = together = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        right, camera = np.repeat(rng.random(80) < 0.7, 10), np.repeat(rng.integers(0, 2, 80), 10)
        values, counted = right[:, None].astype(float), np.ones((800, 1), bool)
        for clusters in (None, np.arange(800) // 10):
            [tested] = max_t(values, counted, [camera], clusters, replicates=99, seed=seed)
            alone += clusters is None and tested.p_value.min() <= 0.1
            together += clusters is not None and tested.p_value.min() <= 0.1
    assert alone > 20
    assert together < 12


def test_small_groups_are_listed_and_not_tested():
    confidence, correct, _, _ = _world(0, 100)
    found = audit(confidence, correct, {"camera": ["a"] * 19 + ["b"] * 81})
    assert [group.n for group in found.groups] == [19, 81]
    assert found.tests == 0
    assert found.worst("accuracy") is None


def test_numbers_are_cut_at_quantiles_and_nothing_is_lost():
    grouping = group_rows("age", [31, 19, 44, None, 25, "", *range(50, 70)], bins=2)
    assert grouping.names == ("[19, 57]", "(57, 69]", "no value")
    assert np.bincount(grouping.codes).tolist() == [12, 12, 2]
    assert grouping.edges == (19, 57, 69)
    ties = group_rows("age", [1] * 50 + list(range(2, 20)), bins=4)
    assert np.bincount(ties.codes).min() > 0
    assert sum(np.bincount(ties.codes)) == 68
    assert group_rows("stars", [5, 1, 3, "3"]).names == ("1", "3", "5")
    assert group_rows("camera", ["B", None, "A "]).names == ("A", "B", "no value")
    with pytest.raises(ValueError, match="bins is 1"):
        group_rows("age", [1, 2], bins=1)


def test_columns_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"column 'age' has 2 rows, confidence 3"):
        audit([0.5, 0.6, 0.7], [1, 0, 1], {"age": [1, 2]})
