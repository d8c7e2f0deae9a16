"""Corruption starts at nothing, is repeatable, and grows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from emocaliber.baselines.corruption import (
    IMAGE_CORRUPTIONS,
    ImageCorruption,
    conflicting,
    corrupted_image,
    corrupted_sample,
    noisy,
    without,
)
from emocaliber.datasets.embedded import load
from tests.baselines.synthetic_views import views_of

VIEWS, TRUTH, _ = views_of()
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


def test_level_nought_changes_nothing():
    for found in (
        noisy(VIEWS, ["clear"], 0.0),
        without(VIEWS, ["clear"], 0.0),
        conflicting(VIEWS, ["clear"], TRUTH.tolist(), 0.0),
    ):
        assert all(np.array_equal(found[name], VIEWS[name]) for name in VIEWS)


def test_noise_is_of_the_level_s_deviation_and_on_the_named_view_alone():
    found = noisy(VIEWS, ["clear"], 2.0)
    added = (found["clear"] - VIEWS["clear"]) / VIEWS["clear"].std(0)
    assert added.std() == pytest.approx(2.0, rel=0.1)
    assert np.array_equal(found["noisy"], VIEWS["noisy"])


def test_a_share_of_the_rows_misses_the_view_and_more_do_at_a_higher_level():
    some, more = (np.isnan(without(VIEWS, ["clear"], level)["clear"]).all(1) for level in (0.2, 0.6))
    assert (some.sum(), more.sum()) == (30, 90)
    assert not (some & ~more).any()


def test_a_conflict_is_the_view_of_a_row_with_another_label():
    found = conflicting(VIEWS, ["clear"], TRUTH.tolist(), 1.0)
    for row, values in enumerate(found["clear"]):
        donor = int(np.flatnonzero((VIEWS["clear"] == values).all(1))[0])
        assert TRUTH[donor] != TRUTH[row]
    assert np.array_equal(found["noisy"], VIEWS["noisy"])


def test_a_conflict_needs_two_labels():
    with pytest.raises(ValueError, match="two labels"):
        conflicting(VIEWS, ["clear"], ["same"] * len(TRUTH), 0.5)


@pytest.mark.parametrize("kind", IMAGE_CORRUPTIONS)
def test_an_image_changes_more_at_a_higher_level_and_keeps_its_size(kind: ImageCorruption):
    def changed(level: float) -> float:
        found = corrupted_image(PICTURE, kind, level, seed=3)
        assert found.size == PICTURE.size
        return float(np.abs(np.asarray(found, float) - np.asarray(PICTURE, float)).mean())

    assert changed(0.0) == 0 < changed(0.2) < changed(0.8)
    assert changed(0.2) == changed(0.2)


def test_a_sample_keeps_everything_but_its_picture_and_a_broken_one_stays_as_it_is():
    sample = load("emoji", "test")[0]
    found = corrupted_sample(sample, "occlusion", 0.3)
    assert found.image != sample.image
    assert replace(found, image=sample.image) == sample
    assert corrupted_sample(sample, "occlusion", 0.3) == found
    broken = replace(sample, image=b"no picture")
    assert corrupted_sample(broken, "blur", 1.0) is broken
