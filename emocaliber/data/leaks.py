"""Leakage between splits: identical images, near-duplicates, or rows of one cluster on both sides.

Images are identical if their decoded pixels are, whatever the file format. For near-duplicates see near_duplicates.

    python -c "from emocaliber.data import embedded, leaks; leaks.check_disjoint(embedded.load('emoji'))"
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.images import FIXES
from emocaliber.core.samples import Sample
from emocaliber.data.facts import PIXELS, FactStore, facts_of
from emocaliber.data.sample_table import summaries

SIDES = {
    "train": "taught", "verbalize": "taught", "unlabelled": "taught", "calibrate": "calibrated on", "test": "tested",
}  # fmt: skip
"""The side of each split. Splits used for training may share items, whatever their stage. A split not listed here
(`known`: new drawings of known items) shares items with others by design, and is compared by image only."""
RANKS = {"tested": 3, "calibrated on": 2, "taught": 1}
"""If one row of an overlapping pair must be dropped, the one whose side has the higher rank is kept."""
PAIRS_NAMED = 5

_Keyed = Iterable[tuple[Hashable, int, str]]
"""A row's key, its index, and its side."""
Kind = Literal["same picture in two splits", "cluster in two splits", "near-duplicate in two splits"]


@dataclass(frozen=True, slots=True)
class Leak:
    """Two rows on different sides that overlap, by index."""

    kind: Kind
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Item:
    """What is compared of a row. `pixels` is empty if the image cannot be read."""

    split: str
    pixels: bytes
    cluster: tuple[str, str]

    @property
    def side(self) -> str:
        """ "taught", "calibrated on" or "tested", which must not share items; any other split is its own side."""
        return SIDES.get(self.split, self.split)


def side_of(split: str) -> str:
    """The side of a split."""
    return SIDES.get(split, split)


class Items(Sequence[Item]):
    """A lazy sequence: items are created by `make` on access, to save memory with millions of rows."""

    def __init__(self, count: int, make: Callable[[int], Item]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._make(i) for i in range(self._count)[place]]
        return self._make(range(self._count)[place])

    def __iter__(self) -> Iterator[Item]:
        return map(self._make, range(self._count))


def exact_leaks(items: Sequence[Item]) -> Iterator[Leak]:
    """For each image, then each cluster, that several sides share: the pairs of their first rows on each side."""

    def pictures() -> _Keyed:
        return ((item.pixels, i, item.side) for i, item in enumerate(items) if item.pixels)

    def clusters() -> _Keyed:
        return ((item.cluster, i, item.side) for i, item in enumerate(items) if item.split in SIDES)

    for kind, keyed in (("same picture in two splits", pictures), ("cluster in two splits", clusters)):
        yield from (Leak(kind, i, j) for i, j in _first_of_each_side(keyed))  # type: ignore[arg-type]


def _first_of_each_side(keyed: Callable[[], _Keyed]) -> Iterator[tuple[int, int]]:
    """Pairs of indices. Two passes over the rows, so that only keys shared by two sides are held in memory."""
    shared = _on_two_sides(keyed())
    first: defaultdict[Hashable, dict[str, int]] = defaultdict(dict)
    for key, i, side in keyed() if shared else ():
        if hash(key) in shared:
            first[key].setdefault(side, i)
    for of_key in first.values():
        yield from combinations(of_key.values(), 2)


def _on_two_sides(keyed: _Keyed) -> set[int]:
    """The hashes of the keys that occur on two sides."""
    hashes, sides, codes = array("q"), array("h"), dict[str, int]()
    for key, _, of in keyed:
        hashes.append(hash(key))
        sides.append(codes.setdefault(of, len(codes)))
    by_hash, side = np.frombuffer(hashes, np.int64), np.frombuffer(sides, np.int16)
    order = np.lexsort((side, by_hash))
    by_hash, side = by_hash[order], side[order]
    return set(by_hash[1:][(by_hash[1:] == by_hash[:-1]) & (side[1:] != side[:-1])].tolist())


def clashing(items: Sequence[Item], near: Sequence[tuple[int, int]]) -> dict[int, tuple[int, Kind]]:
    """The rows to drop so that no two sides overlap, each with the row that is kept and the kind of overlap.

    Of overlapping rows, those on the side with the highest rank are kept: tested, then calibrated on, then taught.
    `near` are near-duplicate pairs, each image represented by its first row.
    """
    by_pixels: defaultdict[Hashable, list[int]] = defaultdict(list)
    by_cluster: defaultdict[Hashable, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        if item.pixels:
            by_pixels[item.pixels].append(i)
        if item.split in SIDES:
            by_cluster[item.cluster].append(i)
    groups: list[tuple[Kind, list[int]]] = [("same picture in two splits", rows) for rows in by_pixels.values()]
    groups += [("cluster in two splits", rows) for rows in by_cluster.values()]
    groups += [
        ("near-duplicate in two splits", [*by_pixels[items[i].pixels], *by_pixels[items[j].pixels]]) for i, j in near
    ]
    out: dict[int, tuple[int, Kind]] = {}
    for rank in sorted(RANKS.values(), reverse=True):
        for kind, rows in groups:
            if (stays := next((i for i in rows if _rank(items[i]) == rank and i not in out), None)) is not None:
                for i in rows:
                    if _rank(items[i]) < rank and i not in out:
                        out[i] = (stays, kind)
    return out


def _rank(item: Item) -> int:
    return RANKS.get(item.side, 0)


def check_disjoint(
    samples: Sequence[Sample],
    near_duplicates: Mapping[str, str] | None = None,
    workers: int = 1,
) -> None:
    """Raises UserError, naming up to five pairs, if two sides share an image, a cluster or a near-duplicate key.

    `near_duplicates` maps sample ids to keys, for near-duplicates that clusters do not cover. Also raises UserError for
    an image that cannot be read, because it cannot be compared.
    """
    with FactStore() as facts:
        items = items_of(samples, facts, workers)
    shared = [_sentence(samples, leak) for leak in exact_leaks(items)]
    if near_duplicates is not None:
        keyed = [
            (near_duplicates[s.id], i, SIDES[s.split])
            for i, s in enumerate(samples)
            if s.id in near_duplicates and s.split in SIDES
        ]
        pairs = _first_of_each_side(lambda: keyed)
        shared += [_sentence(samples, Leak("near-duplicate in two splits", i, j)) for i, j in pairs]
    if shared:
        named = "; ".join(shared[:PAIRS_NAMED])
        raise UserError(
            f"splits overlap in {len(shared)} places: {named}. Make splits apart with `emocaliber data split FILE"
            " --keep-test --out OTHER.parquet`, or leave out all but the more test-like row of each with"
            " drop_problems=true (`emocaliber train`) or --drop-problems (`emocaliber data convert`)"
        )


def items_of(samples: Sequence[Sample], store: FactStore, workers: int) -> Items:
    """The items of the samples. Raises UserError naming a sample whose image cannot be read."""
    splits, tasks, pixels, clusters, ends = list[str](), list[str](), bytearray(), bytearray(), array("q", [0])
    for sample, facts in facts_of(summaries(samples), lambda sample: sample.image, store, workers):
        if facts.fault:
            raise UserError(
                f"{sample.id} ({sample.split}): {facts.sentence}; {FIXES[facts.fault]}, or drop the row: it cannot be"
                " compared"
            )
        splits.append(sample.split)
        pixels += facts.pixels
        tasks.append(sample.task)
        clusters += sample.cluster.encode(errors="surrogatepass")
        ends.append(len(clusters))

    def item(i: int) -> Item:
        cluster = clusters[ends[i] : ends[i + 1]].decode(errors="surrogatepass")
        return Item(splits[i], bytes(pixels[PIXELS * i : PIXELS * (i + 1)]), (tasks[i], cluster))

    return Items(len(splits), item)


_SHARED = {
    "same picture in two splits": "show the same picture",
    "cluster in two splits": "belong to one cluster",
    "near-duplicate in two splits": "are near-duplicates",
}


def _sentence(samples: Sequence[Sample], leak: Leak) -> str:
    first, second = samples[leak.first], samples[leak.second]
    return f"{first.id} ({first.split}) and {second.id} ({second.split}) {_SHARED[leak.kind]}"


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` items, the smallest index in its connected component (union-find)."""
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
