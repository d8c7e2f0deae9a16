"""Corruption of views starts at nothing, hits what is named, and grows."""

from __future__ import annotations

import numpy as np
import pytest

from eval.worlds.corrupted_views import (
    conflicting,
    noisy,
    without,
)
from tests.baselines.synthetic_views import views_of

VIEWS, TRUTH, _ = views_of()


def test_level_nought_changes_nothing():
    for corrupted in (
        noisy(VIEWS, ["clear"], 0.0),
        without(VIEWS, ["clear"], 0.0),
        conflicting(VIEWS, ["clear"], TRUTH.tolist(), 0.0),
    ):
        assert all(np.array_equal(corrupted[name], VIEWS[name]) for name in VIEWS)


def test_noise_is_of_the_level_s_deviation_and_on_the_named_view_alone():
    corrupted = noisy(VIEWS, ["clear"], 2.0)
    added = (corrupted["clear"] - VIEWS["clear"]) / VIEWS["clear"].std(0)
    assert added.std() == pytest.approx(2.0, rel=0.1)
    assert np.array_equal(corrupted["noisy"], VIEWS["noisy"])


def test_a_share_of_the_rows_misses_the_view_and_more_do_at_a_higher_level():
    some, more = (np.isnan(without(VIEWS, ["clear"], level)["clear"]).all(1) for level in (0.2, 0.6))
    assert (some.sum(), more.sum()) == (30, 90)
    assert not (some & ~more).any()


def test_a_conflict_is_the_view_of_a_row_with_another_label():
    corrupted = conflicting(VIEWS, ["clear"], TRUTH.tolist(), 1.0)
    for row, values in enumerate(corrupted["clear"]):
        donor = int(np.flatnonzero((VIEWS["clear"] == values).all(1))[0])
        assert TRUTH[donor] != TRUTH[row]
    assert np.array_equal(corrupted["noisy"], VIEWS["noisy"])


def test_a_conflict_needs_two_labels():
    with pytest.raises(ValueError, match="two labels"):
        conflicting(VIEWS, ["clear"], ["same"] * len(TRUTH), 0.5)
