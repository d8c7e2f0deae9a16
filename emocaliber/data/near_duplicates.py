"""Near-duplicate detection: pairs of images that look nearly the same.

Two images are near-duplicates if their pHashes differ in at most BITS of 64 bits and their 16x16 grey thumbnails have a
correlation of at least ALIKE (the hash alone would match all plain images). Most re-encoded, scaled or brightened
images are found; many cropped or mirrored ones are not.

Hashes this close have a quarter (16 bits) that differs in at most two bits. So images are sorted by each quarter and
compared only with those whose quarter is that close: for a million images, about 4·10⁹ pairs instead of 5·10¹¹.

    near_pairs([look(open(name, "rb").read()) for name in names])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from emocaliber.core.errors import UserError
from emocaliber.data.facts import THUMBNAIL, Facts

BITS = 10
ALIKE = 0.95
PLAIN = 1.0
"""Below this standard deviation, in grey levels, a thumbnail is plain, and its mean is compared instead."""
QUARTER = 16
"""Bits per part of a hash."""
AT_ONCE = 1 << 18
"""Pairs compared at a time."""
MOST_PAIRS = 1_000_000
"""More pairs than this mean that one image repeats many times; listing them would not help."""

Indices = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
_NEAREST = BITS // (64 // QUARTER)  # bits in which the nearest quarter of two such hashes differs at most
_CHANGES = [
    sum(1 << bit for bit in bits) for count in range(_NEAREST + 1) for bits in combinations(range(QUARTER), count)
]


def near_pairs(facts: Sequence[Facts]) -> Iterator[tuple[int, int]]:
    """Index pairs (i < j) of near-duplicates. Raises UserError above MOST_PAIRS pairs."""
    looks = np.frombuffer(b"".join(each.look for each in facts), dtype=">u8").astype(np.uint64)
    thumbnails = np.frombuffer(b"".join(each.thumbnail for each in facts), dtype=np.uint8)
    thumbnails = thumbnails.reshape(len(facts), THUMBNAIL * THUMBNAIL)
    found, total = [np.empty((0, 2), np.int64)], 0
    for left, right in _close(looks):
        alike = _alike(thumbnails[left], thumbnails[right])
        found.append(np.stack([left[alike], right[alike]], axis=1))
        total += len(found[-1])
        if total > MOST_PAIRS:
            raise UserError(f"more than {MOST_PAIRS:,} pairs of near-duplicates; drop the picture that repeats")
    yield from map(tuple, sorted(np.concatenate(found).tolist()))


def _close(looks: Hashes) -> Iterator[tuple[Indices, Indices]]:
    """Pairs by hash alone, each once."""
    for quarter in range(64 // QUARTER):
        keys = _quarter(looks, quarter)
        order = np.argsort(keys, kind="stable")
        for left, right in _candidates(keys[order]):
            first, second = order[left], order[right]
            near = np.bitwise_count(looks[first] ^ looks[second]) <= BITS
            if near.any():
                first, second = first[near], second[near]
                new = ~_met_before(looks[first] ^ looks[second], quarter)
                yield np.minimum(first, second)[new], np.maximum(first, second)[new]


def _quarter(looks: Hashes, number: int) -> Indices:
    return ((looks >> np.uint64(QUARTER * number)) & np.uint64((1 << QUARTER) - 1)).astype(np.int64)


def _met_before(differences: Hashes, quarter: int) -> npt.NDArray[np.bool_]:
    """Mask of the pairs that an earlier quarter already found."""
    met = np.zeros(len(differences), bool)
    for earlier in range(quarter):
        met |= np.bitwise_count(_quarter(differences, earlier)) <= _NEAREST
    return met


def _candidates(keys: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of positions whose sorted keys differ in at most _NEAREST bits, in chunks of about AT_ONCE."""
    counts = np.bincount(keys, minlength=1 << QUARTER)
    starts, places = np.cumsum(counts) - counts, np.arange(len(keys))
    for change in _CHANGES:
        other = keys ^ change
        first = starts[other] if change else places + 1
        lengths = np.where(keys < other, counts[other], 0) if change else starts[keys] + counts[keys] - first
        chosen = np.flatnonzero(lengths)
        ends = np.cumsum(lengths[chosen])
        for part in np.split(chosen, np.searchsorted(ends, np.arange(AT_ONCE, ends[-1] if len(ends) else 0, AT_ONCE))):
            size = lengths[part]
            begins = np.cumsum(size) - size
            right = np.arange(size.sum()) + np.repeat(first[part] - begins, size)
            yield np.repeat(part, size), right


def _alike(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Mask of the pairs of thumbnails [m, 256] with the same pattern, or the same plain grey."""
    a, b = left.astype(np.float32), right.astype(np.float32)
    apart = np.abs(a.mean(1) - b.mean(1))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    spread = np.sqrt((a * a).mean(1)), np.sqrt((b * b).mean(1))
    plain = (spread[0] < PLAIN) & (spread[1] < PLAIN)
    correlation = (a * b).mean(1) / np.maximum(spread[0] * spread[1], PLAIN**2)
    alike: npt.NDArray[np.bool_] = np.where(plain, apart < PLAIN, correlation >= ALIKE)
    return alike
