"""Near-duplicates are those that comparing every pair finds, each once and in order."""

from __future__ import annotations

import numpy as np
import pytest

from emocaliber.core.errors import UserError
from emocaliber.data import near_duplicates
from emocaliber.data.facts import Facts
from emocaliber.data.near_duplicates import BITS, near_pairs


def pictures(hashes: list[int]) -> list[Facts]:
    thumbnail = bytes(range(256))
    return [Facts(look=value.to_bytes(8), thumbnail=thumbnail) for value in hashes]


def changed(value: int, bits: int, random: np.random.Generator) -> int:
    for bit in random.choice(64, bits, replace=False).tolist():
        value ^= 1 << bit
    return value


@pytest.mark.parametrize("at_once", [7, near_duplicates.AT_ONCE])
def test_the_pairs_are_those_of_comparing_all(at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near_duplicates, "AT_ONCE", at_once)
    random = np.random.default_rng(0)
    hashes = [int.from_bytes(random.bytes(8)) for _ in range(150)]
    hashes += [changed(hashes[n], n % 14, random) for n in range(60)]
    hashes += [hashes[3]] * 3 + [0, 1, (1 << 64) - 1]
    random.shuffle(hashes)
    expected = [
        (i, j) for j in range(len(hashes)) for i in range(j) if (hashes[i] ^ hashes[j]).bit_count() <= BITS
    ]  # fmt: skip
    assert len(expected) > 40
    assert list(near_pairs(pictures(hashes))) == sorted(expected)


def test_of_one_hash_only_those_whose_thumbnails_correlate_are_near():
    ramp, noise = bytes(range(256)), np.random.default_rng(1).bytes(256)
    brighter = bytes(min(255, value + 9) for value in ramp)
    same = [Facts(look=b"\1" * 8, thumbnail=thumbnail) for thumbnail in (ramp, noise, brighter)]
    assert list(near_pairs(same)) == [(0, 2)]
    assert list(near_pairs([])) == []


def test_a_picture_over_and_over_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 100)
    with pytest.raises(UserError, match="more than 100 pairs"):
        list(near_pairs(pictures([5] * 40)))
