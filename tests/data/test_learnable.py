"""What training leaves out: nothing by default, else what is wrong with its reason, test rows last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.learnable import unlearnable
from emocaliber.data.policy import Policy
from tests.data.test_leaks import CLEAN, sample

SPARE = [sample(f"spare-{n}", "train", 60 + n) for n in range(16)]
DROP = Policy(drop=True, most=0.5)


def faulty() -> list[Sample]:
    """Clean rows, then one of each fault."""
    return [
        *CLEAN,
        *SPARE,
        replace(CLEAN[3], id="leak", split="train", cluster="leak"),
        replace(SPARE[0], id="broken", image=b"no picture", cluster="broken"),
        replace(sample("bare", "train", 90), label=None),
        replace(CLEAN[2], id="kin", image=sample("", "", 91).image, split="unlabelled", cluster="calibrate"),
    ]


def test_by_default_what_is_wrong_stops_training_and_says_what_mends_it():
    with pytest.raises(UserError, match=r"data split FILE --keep-test --out .*drop_problems=true"):
        unlearnable([row for row in faulty() if row.id != "broken"], Policy())
    with pytest.raises(UserError, match=r"broken \(train\)"):
        unlearnable(faulty(), Policy())
    assert not unlearnable([*CLEAN, *SPARE], Policy()).rows


def test_each_row_that_is_left_out_has_its_reason_and_the_rest_is_clean():
    rows = faulty()
    dropping = unlearnable(rows, DROP, label_needed=["train"])
    assert {row.id: row.kind for row in dropping.rows.values()} == {
        "leak": "same picture in two splits", "broken": "not an image", "bare": "no label",
        "kin": "cluster in two splits"}  # fmt: skip
    assert "test" in next(row.reason for row in dropping.rows.values() if row.id == "leak")
    assert not unlearnable([row for i, row in enumerate(rows) if i not in dropping.rows], Policy()).rows


def test_a_label_is_needed_where_labels_are_learned_alone():
    rows = [row for row in faulty() if row.id == "bare"] + [*CLEAN, *SPARE]
    assert not unlearnable(rows, DROP).rows
    assert len(unlearnable(rows, DROP, label_needed=["t:train"]).rows) == 1


def test_more_than_the_share_stops_training():
    with pytest.raises(UserError, match="max_dropped in a recipe"):
        unlearnable(faulty(), Policy(drop=True, most=0.05))
