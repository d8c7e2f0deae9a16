"""Promise: no item whose label taught stage 1 is calibrated on or tested with. Here for the data that is shipped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emocaliber.core.errors import UserError
from emocaliber.data import embedded, splits


@pytest.mark.parametrize("task", embedded.FILES)
def test_the_shipped_splits_share_no_picture_and_no_item(task: str):
    samples = embedded.load(task)
    assert {"train", "calibrate", "test"} <= {sample.split for sample in samples}
    splits.check_disjoint(samples)


def test_a_taught_emoji_in_a_new_style_would_not_pass_as_a_test_row():
    moved = [replace(s, split="test") if s.split == "known" else s for s in embedded.load("emoji")]
    with pytest.raises(UserError, match="one cluster"):
        splits.check_disjoint(moved)
