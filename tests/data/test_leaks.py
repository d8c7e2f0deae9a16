"""The overlap check finds what is planted, and nothing else."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.leaks import check_disjoint


def picture(shade: int, encoding: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(buffer, encoding, lossless=True)
    return buffer.getvalue()


def sample(name: str, split: str, shade: int, cluster: str | None = None) -> Sample:
    return Sample(
        id=name,
        image=picture(shade),
        task="t",
        candidates=("a", "b"),
        label="a",
        split=split,
        group="g",
        cluster=cluster or name,
    )


CLEAN = [
    sample("taught", "train", 1),
    sample("unlabelled", "unlabelled", 2),
    sample("calibrate", "calibrate", 3),
    sample("test", "test", 4),
]


def test_disjoint_splits_pass():
    check_disjoint(CLEAN)


@pytest.mark.parametrize(
    ("original", "where"), [(0, "calibrate"), (0, "test"), (1, "calibrate"), (1, "test"), (2, "test"), (0, "known")]
)
def test_a_picture_in_two_splits_is_found_and_both_rows_are_named(original: int, where: str):
    planted = replace(CLEAN[original], id="planted", split=where, cluster="another")
    with pytest.raises(UserError, match=rf"{CLEAN[original].id} \(.*planted \({where}\) show the same picture"):
        check_disjoint([*CLEAN, planted])


def test_a_picture_is_found_in_another_file_format():
    planted = replace(CLEAN[0], id="planted", split="test", cluster="another", image=picture(1, "WEBP"))
    with pytest.raises(UserError, match="same picture"):
        check_disjoint([*CLEAN, planted])


@pytest.mark.parametrize("where", ["calibrate", "test"])
def test_an_item_drawn_anew_in_another_split_is_found(where: str):
    with pytest.raises(UserError, match="one cluster"):
        check_disjoint([*CLEAN, sample("planted", where, 9, cluster="taught")])


def test_one_cluster_name_in_two_tasks_is_two_clusters():
    check_disjoint([*CLEAN, replace(sample("other", "test", 9, cluster="taught"), task="another task")])


@pytest.mark.parametrize("where", ["known", "unlabelled"])
def test_rows_that_judge_nothing_new_may_share_items_with_training(where: str):
    check_disjoint([*CLEAN, sample("allowed", where, 9, cluster="taught")])


def test_a_near_duplicate_key_shared_by_two_splits_is_found():
    check_disjoint(CLEAN, {"taught": "x", "test": "y"})
    with pytest.raises(UserError, match=r"taught \(train\) and test \(test\) are near-duplicates"):
        check_disjoint(CLEAN, {"taught": "x", "test": "x"})


def test_a_picture_that_cannot_be_compared_is_an_error_that_names_it():
    with pytest.raises(UserError, match=r"broken \(train\)"):
        check_disjoint([*CLEAN, replace(CLEAN[0], id="broken", image=b"no picture")])


def test_all_overlaps_are_counted_and_a_few_named():
    planted = [sample(f"planted-{n}", "test", 50 + n, cluster=f"c{n}") for n in range(9)]
    taught = [sample(f"taught-{n}", "train", 100 + n, cluster=f"c{n}") for n in range(9)]
    with pytest.raises(UserError, match="in 9 places") as error:
        check_disjoint([*taught, *planted])
    assert str(error.value).count("one cluster") == 5
