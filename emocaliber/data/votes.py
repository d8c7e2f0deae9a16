"""Rater votes in the formats used by published data sets, as counts per label and metadata on how they were collected.

Ties are never broken: if a rule finds no single label, there is none. The formats:

    {"joy": 3, "fear": 1}                                      counts, one label a rater
    {"joy": 14, "awe": 9} with 20 raters                       counts of a multi-select: more votes than raters
    ["joy", "joy", "fear"]                                     individual annotations
    [{"rater": "r7", "label": "joy"}]                          the same, with who
    [["joy", "awe"], ["joy"]]                                  a multi-select, rater by rater
    {"joy": {"mean": 5.1, "sd": 1.2, "n": 20}}                 mean ratings
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from emocaliber.core.samples import Annotation, MeanRating, Ratings, Sample

Rule = Literal["plurality", "majority"]
Votes = dict[str, int]
UNKNOWN = "unknown"
"""The key under which answers outside the labels are counted."""

_FORMS = 'write counts such as {"joy": 3, "fear": 1}, labels such as ["joy", "fear"], or means with mean, sd and n'


class VotesError(ValueError):
    """What is wrong with the votes, and how to fix it."""

    def __init__(self, what: str, fix: str = _FORMS) -> None:
        super().__init__(f"{what}; {fix}")
        self.what, self.fix = what, fix


def read_votes(value: object, raters: int | None = None) -> tuple[Votes | None, Ratings]:
    """Counts per label (None for means), and how they were collected. `raters` is the number of raters, if known.

    Raises VotesError for any other format, a negative or non-integer count, or no votes at all.
    """
    if isinstance(value, Mapping) and value and all(isinstance(entry, Mapping) for entry in value.values()):
        means = {str(label): _mean(str(label), entry) for label, entry in value.items()}
        return None, Ratings("means", max(mean.raters for mean in means.values()), means=means)
    if isinstance(value, Mapping):
        return _counts(value, raters)
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise VotesError(f"{value!r} is not a set of votes")
    if all(isinstance(entry, Mapping) and set(entry) == {"label", "count"} for entry in value):
        if len({entry["label"] for entry in value}) < len(value):
            raise VotesError("a label is counted twice", "give one count a label")
        return _counts({entry["label"]: entry["count"] for entry in value}, raters)
    return _annotations(value)


def labels_in(value: object) -> set[str]:
    """The labels in votes of any format; empty if they cannot be read."""
    try:
        votes, ratings = read_votes(value)
    except VotesError:
        return set()
    return {*(votes or {}), *ratings.means}


def answers(sample: Sample) -> Votes | None:
    """All answers of a panel, with those outside the candidates counted as UNKNOWN; None without votes."""
    if not sample.votes:
        return None
    raters = sample.ratings.raters if sample.ratings and sample.ratings.kind != "multi-select" else None
    others = (raters or 0) - sum(sample.votes.values())
    return sample.votes | ({UNKNOWN: others} if others > 0 else {})


def dominant(votes: Mapping[str, int], rule: Rule, raters: int | None = None) -> str | None:
    """The label determined by the votes under a rule, or None.

    `plurality`: the label with the most votes; None for a tie. `majority`: the label chosen by more than half of the
    raters (or of the votes, if the number of raters is unknown).
    """
    top = max(votes.values(), default=0)
    leaders = [label for label, count in votes.items() if count == top]
    if top == 0 or len(leaders) > 1:
        return None
    if rule == "majority" and 2 * top <= (raters or sum(votes.values())):
        return None
    return leaders[0]


def distribution(sample: Sample) -> tuple[dict[str, float], bool] | None:
    """Shares over the candidates, and whether they are fitted; None without ratings.

    Counts are divided by their sum. Mean ratings are not counts: their shares are the means divided by their sum, which
    is a fitted distribution.
    """
    weights: Mapping[str, float] = sample.votes or {}
    fitted = not weights and sample.ratings is not None and bool(sample.ratings.means)
    if fitted and sample.ratings is not None:
        weights = {label: mean.mean for label, mean in sample.ratings.means.items()}
    total = sum(weights.values())
    if total <= 0:
        return None
    return {label: weights.get(label, 0) / total for label in sample.candidates}, fitted


def _counts(value: Mapping[Any, Any], raters: int | None) -> tuple[Votes, Ratings]:
    for label, count in value.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise VotesError(f"{count!r} votes for {label!r}", "a count is a whole number, 0 or more")
    votes = {str(label): count for label, count in value.items()}
    if raters is not None and votes and max(votes.values()) > raters:
        raise VotesError(f"{max(votes.values())} votes for one label by {raters} raters", "mend either number")
    several = raters is not None and sum(votes.values()) > raters
    return votes, Ratings("multi-select" if several else "counts", raters)


def _annotations(value: Sequence[Any]) -> tuple[Votes, Ratings]:
    answers = tuple(_annotation(number, rater) for number, rater in enumerate(value, start=1))
    if len({answer.rater for answer in answers}) < len(answers):
        raise VotesError("one rater is listed twice", "keep one answer a rater")
    if repeated := next((answer for answer in answers if len(set(answer.labels)) < len(answer.labels)), None):
        raise VotesError(f"rater {repeated.rater} chose a label twice", "name each label once")
    several = any(len(answer.labels) != 1 for answer in answers)
    votes = Counter(label for answer in answers for label in answer.labels)
    return dict(votes), Ratings("multi-select" if several else "annotations", len(answers), answers)


def _annotation(number: int, value: object) -> Annotation:
    if isinstance(value, Mapping):
        labels, rater = value.get("labels", value.get("label")), str(value.get("rater", number))
    else:
        labels, rater = value, str(number)
    if isinstance(labels, str):
        return Annotation(rater, (labels,))
    if isinstance(labels, Sequence) and all(isinstance(label, str) for label in labels):
        return Annotation(rater, tuple(labels))
    raise VotesError(f"{value!r} is not a rater's answer")


def _mean(label: str, value: Mapping[str, Any]) -> MeanRating:
    mean, deviation, raters = value.get("mean"), value.get("sd"), value.get("n")
    if not _is_size(mean) or not (deviation is None or _is_size(deviation)):
        raise VotesError(f"the mean rating of {label!r} is {mean!r} ± {deviation!r}", "both are numbers, 0 or more")
    if isinstance(raters, bool) or not isinstance(raters, int) or raters < 1:
        raise VotesError(f"the mean rating of {label!r} is over n = {raters!r} raters", "give their number as n")
    return MeanRating(float(mean), None if deviation is None else float(deviation), raters)  # type: ignore[arg-type]


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
