"""The target of a post-hoc map: the label, or the raters' votes. What a confidence of .6 means after the map.

| target | .6 means | fitted by |
|---|---|---|
| label | 60 % of such answers are the row's label | whether the answer is the label, 0 or 1 |
| votes | 60 % of the raters choose this label | the share of the raters who chose the answer, in [0, 1] |

A map of the distribution is fitted to the label, or to the raters' distribution. The negative log-likelihood with such
a soft target and the squared error are both minimised by the expected share, so that each is a proper loss for it. A
confidence cannot be calibrated to both targets where raters disagree.

    correctness(rows, "votes")      # (n,) shares
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from emocaliber.calibration.maps import Bools, Floats
from emocaliber.core.predictions import Prediction

Target = Literal["label", "votes"]
DESCRIBED: dict[Target, str] = {"label": "the labels", "votes": "the raters' votes"}
"""The targets as messages name them."""


def correctness(rows: Sequence[Prediction], target: Target = "label") -> Bools | Floats:
    """Whether each row's answer is its label [n], or the share of its raters [n] who chose the answer: 0 without an
    answer or votes."""
    if target == "label":
        return np.array([row.predicted == row.truth for row in rows])
    return np.array([vote_shares(row).get(row.predicted or "", 0.0) for row in rows])


def label_shares(row: Prediction, target: Target) -> dict[str, float]:
    """The distribution that a map of the distribution is fitted to: 1 for the label, or the raters' shares."""
    return {str(row.truth): 1.0} if target == "label" else vote_shares(row)


def vote_shares(row: Prediction) -> dict[str, float]:
    """The share of the votes for each label that has any, as the scorecard's agreement counts them; they sum to 1, also
    where a rater may choose several labels. Empty without votes."""
    votes = {label: count for label, count in (row.votes or {}).items() if count}
    return {label: count / sum(votes.values()) for label, count in votes.items()}


def has_target(row: Prediction, target: Target) -> bool:
    """Whether the row has what a map to this target is fitted to."""
    return target == "label" or any((row.votes or {}).values())


def with_target(rows: Sequence[Prediction], target: Target) -> list[Prediction]:
    """The rows that a map to this target can be fitted on. Raises ValueError if there are none."""
    if usable := [row for row in rows if has_target(row, target)]:
        return usable
    raise ValueError("no row has raters' votes to fit a map to")
