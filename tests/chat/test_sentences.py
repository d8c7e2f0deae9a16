"""Plain sentences say what was counted, and say nothing where nothing was."""

from __future__ import annotations

import pytest

from emocaliber.chat.record import Likeness, Selection
from emocaliber.chat.sentences import UNREADABLE, basis, meaning, often_right, verdict
from emocaliber.core.predictions import State


def like(share: float) -> Likeness:
    return Likeness(round(100 * share), 100, 0.8, 0.8)


def test_a_trusted_answer_is_told_by_its_record_and_not_by_what_it_states():
    assert verdict(0.95, 0.7, like(0.8)) == "Quite sure: 8 in 10 answers like this are right."
    assert verdict(0.95, 0.7, like(0.5)) == "Rather unsure: 5 in 10 answers like this are right."


def test_below_the_threshold_it_is_not_sure():
    assert verdict(0.5, 0.7, like(0.5)).startswith("Not sure: people may well see this differently.")
    assert "5 in 10" in verdict(0.5, 0.7, like(0.5))


def test_without_a_record_nothing_is_claimed():
    for confidence in (0.2, 0.99):
        assert "never measured" in verdict(confidence, 0.7, None)
        assert "in 10" not in verdict(confidence, 0.7, None)


def test_without_a_confidence_the_answer_is_not_to_be_relied_on():
    assert "do not rely" in verdict(None, 0.7, None)


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "hardly any"), (0.1, "1 in 10 answers like this is"), (0.25, "3 in 10"), (1.0, "nearly all")],
)
def test_tenths(share: float, words: str):
    assert words in often_right(share)


def test_every_unreadable_state_has_its_own_sentence():
    assert set(UNREADABLE) == set(State) - {State.OK}
    assert len(set(UNREADABLE.values())) == len(UNREADABLE)


def test_the_basis_names_numbers_and_range_and_that_they_are_of_unseen_pictures():
    assert basis(Likeness(163, 470, 0.3, 0.35)) == (
        "163 of 470 answers that stated 30\u00a0% to 35\u00a0%, on pictures the model was not trained on"
    )


def test_the_threshold_is_told_by_number_coverage_and_accuracy():
    text = meaning(0.7, Selection(1416, 0.23, 0.87))
    assert "of 1,416 pictures" in text
    assert "23\u00a0% would have had a trusted answer" in text
    assert "87\u00a0% of these answers were right" in text
    assert "none" in meaning(0.99, Selection(1416, 0.0, None))
    assert "never measured" in meaning(0.7, None)
