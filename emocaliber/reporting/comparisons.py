"""Paired differences of a scorecard: looked up by the methods' names, and rendered as words and tables.

comparison = find_comparison(card.comparisons, "model", "baseline", scores)      # model minus baseline
difference_table("Model minus baseline", [comparison], card)
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.reference_methods import CONSTANT
from emocaliber.evaluation.scorecard import Comparison, Difference, MethodScores, Scorecard, Scores
from emocaliber.reporting.document import Cell, Table
from emocaliber.reporting.tables import ABSENT, UNDEFINED, display_name, interval_text, metric_title, number

COMPARED = ("accuracy", "ece", "brier", "auroc")


def reversed_difference(difference: Difference) -> Difference:
    """The same difference, second minus first."""
    bounds = (difference.value, difference.high, difference.low)
    value, low, high = (None if bound is None else -bound for bound in bounds)
    return Difference(value, low, high, difference.p_value)


def find_comparison(comparisons: Sequence[Comparison], first: str, second: str, scores: Scores) -> Comparison | None:
    """The paired differences, first minus second, in the subset of `scores`; None if there are none."""
    for stored in comparisons:
        if (stored.kind, stored.name, stored.aggregation) != (scores.kind, scores.name, scores.aggregation):
            continue
        if (stored.first, stored.second) == (first, second):
            return stored
        if (stored.first, stored.second) == (second, first):
            reversed_values = {name: reversed_difference(value) for name, value in stored.headline.items()}
            return Comparison(first, second, stored.kind, stored.name, stored.aggregation, stored.n, reversed_values)
    return None


def against_constant(card: Scorecard, method: MethodScores, scores: Scores) -> Comparison | None:
    """The method minus the constant with its own labels."""
    return find_comparison(card.comparisons, method.name, f"{CONSTANT} ({method.name})", scores)


def constant_of(card: Scorecard, method: MethodScores) -> MethodScores | None:
    """The constant reference for the method's labels; None if there is none.

    Methods with the same labels share one constant, stored under the name of the first of them. It is recognised by its
    Brier score, which is the method's minus their difference.
    """
    scores = method.find("all")
    comparison = against_constant(card, method, scores)
    difference = comparison.headline["brier"].value if comparison else None
    own = scores.headline["brier"].value
    if own is None or difference is None:
        return None
    for constant in card.methods:
        if constant.role != "reference" or not constant.name.startswith(f"{CONSTANT} ("):
            continue
        brier = constant.find("all").headline["brier"].value
        if brier is not None and abs(own - difference - brier) < 1e-9:
            return constant
    return None


def verdict(difference: Difference, metric: str) -> str:
    """Better, worse or no clear difference, by whether the interval of the difference contains zero."""
    if difference.value is None or difference.low is None or difference.high is None:
        return UNDEFINED
    if difference.low == difference.value == difference.high == 0:
        return "no difference"
    if difference.low <= 0 <= difference.high:
        return "no clear difference"
    return "better" if (difference.value < 0) == (METRICS[metric].better == "lower") else "worse"


def difference_cell(difference: Difference | None, metric: str) -> Cell:
    """A signed difference, with its interval and verdict."""
    if difference is None:
        return ABSENT
    if difference.value is None:
        return Cell(UNDEFINED)
    interval = interval_text(difference.low, difference.high, "+.3f")
    p = "" if difference.p_value is None else f", p = {difference.p_value:.3f}"
    return Cell(number(difference.value, "+.3f"), f"{interval}; {verdict(difference, metric)}{p}" if interval else "")


def difference_table(caption: str, comparisons: Sequence[Comparison], card: Scorecard) -> Table:
    """Paired differences, first minus second."""
    names = {method.name: display_name(method) for method in card.methods}
    header = ["First minus second", *(metric_title(name) for name in COMPARED), "n"]
    rows = [
        [
            Cell(names.get(pair.first, pair.first), f"minus {_second(pair.second, card, names)}"),
            *(difference_cell(pair.headline.get(name), name) for name in COMPARED),
            Cell(f"{pair.n:,}"),
        ]
        for pair in comparisons
    ]
    return Table(caption, header, rows)


def _second(name: str, card: Scorecard, names: dict[str, str]) -> str:
    """The second method's printed name; a constant stored under another method's name is still marked as an oracle."""
    if name in names or not name.startswith(f"{CONSTANT} ("):
        return names.get(name, name)
    owner = next((method for method in card.methods if name == f"{CONSTANT} ({method.name})"), None)
    constant = constant_of(card, owner) if owner else None
    return f"{name} (oracle)" if constant and constant.oracle else name
