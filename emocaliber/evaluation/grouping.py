"""Columns as groups of rows: a category is a group, a number falls into one of a few bins of equally many rows.

group_rows("age", [31, 19, 44, None, 25], bins=2).names        # "[19, 28]", "(28, 44]", "no value"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emocaliber.evaluation.counts import IntArray

NO_VALUE = "no value"
MOST_CATEGORIES = 10
"""A column of numbers with more distinct ones is binned; with fewer, each is a category (a rating of 1 to 7)."""


@dataclass(frozen=True)
class Grouping:
    """Which of `names` each row belongs to, `codes` (n,). `edges` are those of the bins of a column of numbers,
    ascending, None for categories; every bin but the first is open on the left."""

    column: str
    names: tuple[str, ...]
    codes: IntArray
    edges: tuple[float, ...] | None = None


def group_rows(column: str, values: Sequence[object], *, bins: int = 4) -> Grouping:
    """The groups of n values: text, numbers or None. What is empty, None or NaN is a group of its own, "no value".

    A column whose values are all numbers, more than MOST_CATEGORIES of them distinct, is cut at its quantiles into
    `bins`, fewer where ties make two edges one. Raises ValueError for fewer than two bins.
    """
    if bins < 2:
        raise ValueError(f"{bins} bins are no grouping; give 2 or more")
    texts = ["" if value is None else str(value).strip() for value in values]
    numbers = _numbers(texts)
    if numbers is None:
        given = sorted(set(filter(None, texts)))
        names = (*given, *((NO_VALUE,) if "" in texts else ()))
        place = {name: code for code, name in enumerate(given)} | {"": len(given)}
        return Grouping(column, names, np.array([place[text] for text in texts], np.int64))
    there = ~np.isnan(numbers)
    distinct = np.unique(numbers[there])
    if distinct.size <= MOST_CATEGORIES:
        codes = np.where(there, np.searchsorted(distinct, np.where(there, numbers, distinct[0])), distinct.size)
        names = tuple(f"{value:g}" for value in distinct)
        return Grouping(column, names + ((NO_VALUE,) if not there.all() else ()), codes)
    edges = np.unique(np.quantile(numbers[there], np.linspace(0, 1, bins + 1), method="inverted_cdf"))
    codes = np.maximum(np.searchsorted(edges, np.where(there, numbers, edges[0]), side="left") - 1, 0)
    shown = [f"{edge:g}" for edge in edges]
    names = tuple(f"{'(' if b else '['}{shown[b]}, {shown[b + 1]}]" for b in range(edges.size - 1))
    codes = np.where(there, codes, len(names))
    return Grouping(column, names + ((NO_VALUE,) if not there.all() else ()), codes, tuple(edges.tolist()))


def _numbers(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """The values as numbers, NaN where empty or "nan"; None where one is no finite number, or none is there."""
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() or np.isnan(numbers).all() else numbers
