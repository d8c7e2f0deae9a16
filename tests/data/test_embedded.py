"""What the shipped data promises."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.images import load_image
from emocaliber.core.samples import Sample
from emocaliber.data import embedded

MEGABYTE = 1e6


@pytest.fixture(scope="module")
def emoji() -> list[Sample]:
    return embedded.load("emoji")


def test_all_embedded_data_together_stays_within_12_megabytes():
    assert sum(path.stat().st_size for path in embedded.FILES.values()) <= 12 * MEGABYTE


def test_an_emoji_has_the_same_votes_in_every_style_and_its_label_is_their_only_maximum(emoji: list[Sample]):
    votes = defaultdict(set)
    for sample in emoji:
        assert sample.votes is not None
        votes[sample.cluster].add(tuple(sorted(sample.votes.items())))
        assert [label for label, n in sample.votes.items() if n == max(sample.votes.values())] == [sample.label]
    assert len(votes) == 100
    assert all(len(of_one_emoji) == 1 for of_one_emoji in votes.values())


def test_every_split_and_group_has_the_rows_that_the_card_states(emoji: list[Sample]):
    assert Counter((sample.split, sample.group) for sample in emoji) == {
        ("train", "known emoji"): 292,
        ("calibrate", "new emoji"): 148,
        ("test", "new emoji"): 155,
        ("test", "new emoji, held-out style"): 104,
        ("known", "known emoji, held-out style"): 222,
        ("known", "known emoji, one colour"): 73,
    }


def test_every_emoji_picture_opens_and_has_a_licence_that_travels_with_it(emoji: list[Sample]):
    assert {load_image(sample.image).size for sample in emoji} == {(64, 64)}
    assert {sample.licence for sample in emoji} == {"Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT"}
    texts = [path.name for path in (embedded.DATA / "LICENSES").iterdir()]
    assert all(any(name.startswith(sample.licence) for name in texts) for sample in emoji)


def test_a_task_without_embedded_data_is_told_which_there_are():
    with pytest.raises(UserError, match="emoji and kaomoji"):
        embedded.load("faces")
