"""Which pictures are nearly the same: all pairs at 10^5 pictures, in seconds.

Two pictures are near-duplicates where their pHashes differ in at most BITS of 64 bits and their 16x16 grey thumbnails
correlate at ALIKE or more: the hash alone takes every plain picture for every other. Of pictures saved anew, scaled or
brightened most are recognised; of those cropped at the sides or mirrored, many are not. Every pair is compared: n²/2
operations of a few nanoseconds.

    python -c "from emocaliber.data.near_duplicates import near_pairs; help(near_pairs)"
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from emocaliber.core.errors import UserError
from emocaliber.data.facts import THUMBNAIL, Facts

BITS = 10
ALIKE = 0.95
PLAIN = 1.0
"""Below this standard deviation, in grey levels, a thumbnail has no pattern to correlate: its mean is compared."""
TILE = (128, 8192)
"""Rows and columns compared at a time: what stays in the processor's cache."""
MOST_PAIRS = 1_000_000
"""More near-duplicates than this are one picture over and over; listing them helps nobody."""

Indices = npt.NDArray[np.int64]


def near_pairs(facts: Sequence[Facts]) -> Iterator[tuple[int, int]]:
    """Index pairs (i < j) of near-duplicates. Raises UserError above MOST_PAIRS pairs."""
    looks = np.frombuffer(b"".join(each.look for each in facts), dtype=">u8").astype(np.uint64)
    thumbnails = np.frombuffer(b"".join(each.thumbnail for each in facts), dtype=np.uint8)
    thumbnails = thumbnails.reshape(len(facts), THUMBNAIL * THUMBNAIL)
    total = 0
    for left, right in _close(looks):
        alike = _alike(thumbnails[left], thumbnails[right])
        total += int(alike.sum())
        if total > MOST_PAIRS:
            raise UserError(f"more than {MOST_PAIRS:,} pairs of near-duplicates; drop the picture that repeats")
        yield from zip(left[alike].tolist(), right[alike].tolist(), strict=True)


def _close(looks: npt.NDArray[np.uint64]) -> Iterator[tuple[Indices, Indices]]:
    """Pairs by hash alone, tile by tile."""
    for top in range(0, len(looks), TILE[0]):
        block = looks[top : top + TILE[0], None]
        for start in range(top, len(looks), TILE[1]):
            distances = np.bitwise_count(block ^ looks[start : start + TILE[1]])
            if distances.min() > BITS:
                continue
            left, right = np.divmod(np.flatnonzero(distances <= BITS), distances.shape[1])
            left, right = left + top, right + start
            later = right > left
            for part in range(0, int(later.sum()), TILE[1]):
                yield left[later][part : part + TILE[1]], right[later][part : part + TILE[1]]


def _alike(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which pairs of thumbnails [m, 256] show the same pattern, or the same plain grey."""
    a, b = left.astype(np.float32), right.astype(np.float32)
    apart = np.abs(a.mean(1) - b.mean(1))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    spread = np.sqrt((a * a).mean(1)), np.sqrt((b * b).mean(1))
    plain = (spread[0] < PLAIN) & (spread[1] < PLAIN)
    correlation = (a * b).mean(1) / np.maximum(spread[0] * spread[1], PLAIN**2)
    alike: npt.NDArray[np.bool_] = np.where(plain, apart < PLAIN, correlation >= ALIKE)
    return alike


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` items the smallest index of its connected group (union-find)."""
    parent = list(range(count))

    def top(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = top(i), top(j)
        parent[max(a, b)] = min(a, b)
    return [top(i) for i in range(count)]
