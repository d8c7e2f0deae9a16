"""Grouping rows by a column: each category is a group, and numbers are cut into a few quantile bins.

group_rows("age", [31, 19, 44, None, 25], bins=2).names        # "[19, 28]", "(28, 44]", "no value"
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emocaliber.evaluation.counts import IntArray

NO_VALUE = "no value"
MOST_CATEGORIES = 10
"""Numeric columns with more distinct values are binned; with fewer, each value is a category (a rating of 1 to 7)."""


@dataclass(frozen=True)
class Grouping:
    """The group of each row: `codes` (n,) index `names`. `edges` are the ascending bin edges of a numeric column, None
    for categories; every bin but the first is open on the left."""

    column: str
    names: tuple[str, ...]
    codes: IntArray
    edges: tuple[float, ...] | None = None


def group_rows(column: str, values: Sequence[object], *, bins: int = 4) -> Grouping:
    """Group n values (texts, numbers or None). Empty, None and NaN values form a group of their own, "no value".

    A column of numbers with more than MOST_CATEGORIES distinct values is cut at its quantiles into `bins`, or fewer if
    ties make edges coincide. Raises ValueError for fewer than two bins.
    """
    if bins < 2:
        raise ValueError(f"bins is {bins}; give 2 or more")
    texts = ["" if _is_missing(value) else str(value).strip() for value in values]
    numbers = _numbers(texts)
    if numbers is None:
        given = sorted(set(filter(None, texts)))
        names = (*given, *((NO_VALUE,) if "" in texts else ()))
        place = {name: code for code, name in enumerate(given)} | {"": len(given)}
        return Grouping(column, names, np.array([place[text] for text in texts], np.int64))
    has_value = ~np.isnan(numbers)
    distinct = np.unique(numbers[has_value])
    if distinct.size <= MOST_CATEGORIES:
        codes = np.where(has_value, np.searchsorted(distinct, np.where(has_value, numbers, distinct[0])), distinct.size)
        names = tuple(f"{value:g}" for value in distinct)
        return Grouping(column, names + ((NO_VALUE,) if not has_value.all() else ()), codes)
    edges = np.unique(np.quantile(numbers[has_value], np.linspace(0, 1, bins + 1), method="inverted_cdf"))
    codes = np.maximum(np.searchsorted(edges, np.where(has_value, numbers, edges[0]), side="left") - 1, 0)
    edge_texts = [f"{edge:g}" for edge in edges]
    names = tuple(f"{'(' if b else '['}{edge_texts[b]}, {edge_texts[b + 1]}]" for b in range(edges.size - 1))
    codes = np.where(has_value, codes, len(names))
    return Grouping(column, names + ((NO_VALUE,) if not has_value.all() else ()), codes, tuple(edges.tolist()))


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _numbers(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """The values as numbers, NaN where empty or "nan"; None if any value is not a finite number, or all are missing."""
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() or np.isnan(numbers).all() else numbers
