"""Votes: every published form becomes counts, ties stay ties, what is fitted says so."""

from __future__ import annotations

import pytest

from emocaliber.core.samples import MeanRating, Ratings, Sample
from emocaliber.data.votes import VotesError, distribution, dominant, labels_in, read_votes

FORMS = [
    ({"joy": 2, "fear": 1}, None, "counts", None),
    ([{"label": "joy", "count": 2}, {"label": "fear", "count": 1}], 3, "counts", 3),
    (["joy", "fear", "joy"], None, "annotations", 3),
    ([{"rater": "a", "label": "joy"}, {"rater": "b", "label": "joy"}, {"rater": "c", "label": "fear"}], None,
     "annotations", 3),
    ([["joy", "fear"], ["joy"]], None, "multi-select", 2),
    ({"joy": 2, "fear": 1}, 2, "multi-select", 2),
]  # fmt: skip


@pytest.mark.parametrize(("value", "raters", "kind", "number"), FORMS)
def test_every_form_gives_the_same_counts_and_says_how_it_was_asked(
    value: object, raters: int | None, kind: str, number: int | None
):
    votes, ratings = read_votes(value, raters)
    assert votes == {"joy": 2, "fear": 1}
    assert (ratings.kind, ratings.raters) == (kind, number)
    assert labels_in(value) == {"joy", "fear"}


def test_who_said_what_is_kept():
    _, ratings = read_votes([{"rater": "a", "labels": ["joy", "fear"]}, {"rater": "b", "labels": []}])
    assert [(answer.rater, answer.labels) for answer in ratings.annotations] == [("a", ("joy", "fear")), ("b", ())]


@pytest.mark.parametrize(
    ("value", "raters"),
    [
        ({"joy": -1}, None), ({"joy": 1.5}, None), ({"joy": True}, None), ("joy", None), ([], None), (7, None),
        ({"joy": 30}, 20), ([["joy", "joy"]], None), ([{"rater": "a", "label": "joy"}] * 2, None),
        ([{"label": "joy", "count": 1}] * 2, None), ({"joy": {"mean": "high", "n": 3}}, None),
        ({"joy": {"mean": 1.0, "sd": -1, "n": 3}}, None), ({"joy": {"mean": 1.0, "n": 0}}, None), ([3], None),
    ],
)  # fmt: skip
def test_what_is_no_vote_is_refused_with_a_way_to_mend_it(value: object, raters: int | None):
    with pytest.raises(VotesError) as error:
        read_votes(value, raters)
    assert error.value.what
    assert error.value.fix


def test_a_tie_has_no_dominant_label_under_any_rule():
    tied = {"joy": 4, "fear": 4, "awe": 1}
    assert dominant(tied, "plurality") is None
    assert dominant(tied, "majority") is None


def test_a_plurality_is_not_a_majority():
    votes = {"joy": 4, "fear": 3, "awe": 3}
    assert dominant(votes, "plurality") == "joy"
    assert dominant(votes, "majority") is None
    assert dominant({"joy": 6, "fear": 4}, "majority") == "joy"


def test_half_of_the_raters_is_no_majority_and_abstentions_count_as_raters():
    assert dominant({"joy": 5, "fear": 4}, "majority", raters=10) is None


def sample(votes: dict[str, int] | None, ratings: Ratings | None) -> Sample:
    return Sample("s", b"", "t", ("fear", "joy"), None, "train", "", "s", votes, ratings=ratings)


def test_counts_give_counted_shares_and_means_fitted_ones():
    means = {"fear": MeanRating(1.0, 0.5, 20), "joy": MeanRating(3.0, None, 20)}
    assert distribution(sample({"fear": 1, "joy": 3}, None)) == ({"fear": 0.25, "joy": 0.75}, False)
    assert distribution(sample(None, Ratings("means", 20, means=means))) == ({"fear": 0.25, "joy": 0.75}, True)
    assert distribution(sample(None, None)) is None
