"""Finding paired differences and floors in a Scorecard by the names of the methods.

Not a comparison: `emocaliber.evaluation.comparison` measures them.

    python -m pytest tests/reporting/test_comparisons.py
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.reference_methods import CONSTANT
from emocaliber.evaluation.scorecard import Comparison, Difference, MethodScores, Scorecard, Scores


def reversed_difference(difference: Difference) -> Difference:
    """The same difference, second minus first."""
    value, low, high = (None if one is None else -one for one in (difference.value, difference.high, difference.low))
    return Difference(value, low, high, difference.p_value)


def find_comparison(comparisons: Sequence[Comparison], first: str, second: str, scores: Scores) -> Comparison | None:
    """The paired differences first minus second in the scope of `scores`, turned round where stored the other way."""
    for one in comparisons:
        if (one.kind, one.name, one.aggregation) != (scores.kind, scores.name, scores.aggregation):
            continue
        if (one.first, one.second) == (first, second):
            return one
        if (one.first, one.second) == (second, first):
            turned = {name: reversed_difference(value) for name, value in one.headline.items()}
            return Comparison(first, second, one.kind, one.name, one.aggregation, one.n, turned)
    return None


def against_constant(card: Scorecard, method: MethodScores, scores: Scores) -> Comparison | None:
    """The method minus the constant with its own labels."""
    return find_comparison(card.comparisons, method.name, f"{CONSTANT} ({method.name})", scores)


def constant_of(card: Scorecard, method: MethodScores) -> MethodScores | None:
    """The constant floor with the method's own labels; None where there is none.

    Methods that name the same labels share one floor, printed under the name of the first of them: it is known by its
    Brier score, the method's less their difference.
    """
    every = method.find("all")
    comparison = against_constant(card, method, every)
    difference = comparison.headline["brier"].value if comparison else None
    own = every.headline["brier"].value
    if own is None or difference is None:
        return None
    for floor in constants(card):
        brier = floor.find("all").headline["brier"].value
        if brier is not None and abs(own - difference - brier) < 1e-9:
            return floor
    return None


def constants(card: Scorecard) -> list[MethodScores]:
    """The constant floors."""
    return [one for one in card.methods if one.role == "reference" and one.name.startswith(f"{CONSTANT} (")]
