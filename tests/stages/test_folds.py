"""Folds: each cluster is in one of them, and nobody speaks for a row that it learned from."""

from __future__ import annotations

import numpy as np
import pytest

from emocaliber.stages.clusters import Fold, averaged, fold_of, rows_by_teacher

CLUSTERS = [f"cluster {n}" for n in range(300)]
THREE = [Fold(n, 3) for n in (1, 2, 3)]


def test_every_cluster_is_in_one_fold_and_folds_are_about_even():
    holding = np.array([[fold.contains(cluster) for cluster in CLUSTERS] for fold in THREE])
    assert (holding.sum(0) == 1).all()
    assert holding.sum(1).min() > 70


def test_a_teacher_judges_the_fold_that_it_left_out():
    for fold, rows in zip(THREE, rows_by_teacher(CLUSTERS, THREE), strict=True):
        assert [CLUSTERS[i] for i in rows] == [cluster for cluster in CLUSTERS if fold.contains(cluster)]


def test_teachers_trained_on_all_rows_judge_every_row():
    assert rows_by_teacher(CLUSTERS, [None, None]) == [list(range(300))] * 2


def test_a_fold_without_a_teacher_is_an_error():
    with pytest.raises(ValueError, match=r"every teacher was trained on cluster .*not only 1/3, 2/3"):
        rows_by_teacher(CLUSTERS, THREE[:2])


def test_beliefs_are_averaged_over_those_who_spoke():
    sure, unsure = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    means = averaged(2, [([0, 1], [sure, sure]), ([1], [unsure])])
    np.testing.assert_allclose(means, [[1.0, 0.0], [0.75, 0.25]])


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/1", "1", "a/b", "1/3 "])
def test_what_is_no_fold_is_an_error(text: str):
    with pytest.raises(ValueError, match="is no fold"):
        fold_of(text)
