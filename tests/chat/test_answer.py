"""An answer shows what was read, whose alternatives they are, the reasoning in its steps, and a record that names the
pictures it is about."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from emocaliber.chat.answer import (
    NEVER_MEASURED,
    PROBABILITY,
    REASONING,
    STATED,
    UNREADABLE,
    Answer,
    often_right,
    quote,
    read_answer,
    readable,
    threshold_meaning,
    titled_steps,
)
from emocaliber.chat.record import Record, SimilarAnswers, Stated, TaskRecord
from emocaliber.core.predictions import State
from emocaliber.core.prompting import load_template
from emocaliber.generation.engine import Response
from tests.chat.conftest import choice_of

LABELS = ("joy", "awe", "fear")
RECORD = Record((TaskRecord("mugs", tuple(sorted(LABELS)), (Stated(0.5, 50, 40), Stated(0.9, 50, 45)), 0),))
CHOICE = replace(choice_of(), record=RECORD)


def read(
    text: str,
    *,
    template: str = "label-confidence",
    reason: str = "stop",
    threshold: float = 0.7,
    question: str = "",
    vouched_for: bool = False,
    **changes: object,
) -> Answer:
    response = Response("1", text, reason, **changes)  # type: ignore[arg-type]
    choice = replace(CHOICE, template=load_template(template), record_is_vouched_for=vouched_for)
    return read_answer(response, choice, LABELS, name="p.png", threshold=threshold, question=question)


def test_a_readable_answer():
    answer = read("<answer>joy</answer><confidence>0.90</confidence>")
    assert (answer.label, answer.confidence, answer.state, answer.trusted) == ("joy", 0.9, State.OK, True)
    assert answer.sentence == "Trusted: it reaches the threshold of 70\u00a0%."
    assert answer.record == (
        "For pictures of mugs, 9 in 10 answers like this were right (45 of 50 that stated 90\u00a0%, held out from"
        " training). For other pictures it has never been measured."
    )


def test_alternatives_are_the_label_probabilities_where_none_were_stated():
    logs = tuple(math.log(share) for share in (0.25, 0.2, 0.05))
    answer = read("<answer>joy</answer><confidence>0.90</confidence>", choices=(logs, (0.0,) * 21))
    assert answer.alternatives == pytest.approx({"joy": 0.5, "awe": 0.4, "fear": 0.1})
    assert answer.alternatives_from == PROBABILITY


def test_a_stated_distribution_comes_before_probabilities():
    answer = read("<distribution>awe 0.60, joy 0.30, fear 0.10</distribution>", template="distribution")
    assert list(answer.alternatives) == ["awe", "joy", "fear"]
    assert answer.alternatives_from == STATED


@pytest.mark.parametrize("text", ["", "no idea", "<answer>anger</answer>", "<answer>joy or awe</answer>"])
def test_an_unreadable_answer_says_so_and_is_never_trusted(text: str):
    answer = read(text)
    assert answer.label is None
    assert not answer.trusted
    assert answer.sentence
    assert answer.record == ""
    assert answer.alternatives == {}


def test_a_label_without_a_usable_confidence_is_not_trusted():
    answer = read("<answer>joy</answer><confidence>85</confidence>")
    assert answer.label == "joy"
    assert answer.confidence is None
    assert not answer.trusted
    assert "outside 0 to 1" in answer.sentence


def test_a_failed_engine_is_shown_with_its_reason():
    answer = read("", reason="engine error", error="connection refused")
    assert "connection refused" in answer.sentence


def test_the_same_answer_at_another_threshold_changes_only_its_verdict():
    text = "<answer>joy</answer><confidence>0.90</confidence>"
    low, high = read(text), read(text, threshold=0.95)
    assert not high.trusted
    assert high.sentence == "Not trusted: it is below the threshold of 95\u00a0%."
    assert replace(high, threshold=low.threshold) == low


def test_a_record_is_quoted_as_about_other_pictures_unless_the_user_vouches_for_it():
    text = "<answer>joy</answer><confidence>0.90</confidence>"
    assert read(text).record.startswith("For pictures of mugs, ")
    assert read(text, vouched_for=True).record == (
        "9 in 10 answers like this were right: 45 of 50 that stated 90\u00a0%, on held-out pictures of mugs."
    )


def test_an_untrusted_answer_is_never_called_unsure_beside_a_good_record():
    answer = read("<answer>joy</answer><confidence>0.50</confidence>", vouched_for=True)
    assert "8 in 10 answers like this were right" in answer.record
    assert "ure" not in answer.sentence
    assert answer.sentence == "Not trusted: it is below the threshold of 70\u00a0%."


def test_a_record_of_other_labels_is_not_quoted():
    response = Response("1", "<answer>joy</answer><confidence>0.90</confidence>", "stop")
    for labels in (("joy", "awe"), (*LABELS, "anger")):
        assert read_answer(response, CHOICE, labels, name="p", threshold=0.7).record == NEVER_MEASURED


def test_a_typed_question_has_no_record_for_only_the_trained_one_was_measured():
    answer = read("<answer>joy</answer><confidence>0.90</confidence>", question="why?")
    assert answer.record == NEVER_MEASURED
    assert answer.trusted


def test_reasoning_comes_in_its_steps():
    steps = titled_steps(
        "<think><human>A <b>smile</b>.</human><analysis>So joy.</analysis></think><answer>joy</answer>"
    )
    assert steps == {"People": "A <b>smile</b>.", "What follows": "So joy."}


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("<answer>joy</answer>", {}),
        ("<think>Hm.</think>x", {REASONING: "Hm."}),
        ("<think>cut", {REASONING: "cut"}),
        ("</think>", {}),
    ],
)
def test_reasoning_without_steps(text: str, steps: dict[str, str]):
    assert titled_steps(text) == steps


def test_endless_tags_are_read_in_linear_time():
    assert titled_steps("<think>" + "<human>" * 100_000) != {}


def similar(share: float) -> SimilarAnswers:
    return SimilarAnswers("mugs", round(100 * share), 100, 0.8, 0.8)


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "hardly any"), (0.1, "1 in 10 answers like this was"), (0.25, "3 in 10"), (1.0, "nearly all")],
)
def test_tenths(share: float, words: str):
    assert words in often_right(share)
    assert words in quote(similar(share), vouched_for=False)


def test_every_unreadable_state_has_its_own_sentence():
    assert set(UNREADABLE) == set(State) - {State.OK}
    assert len(set(UNREADABLE.values())) == len(UNREADABLE)


def test_a_widened_range_of_confidences_is_quoted_with_its_counts():
    text = quote(SimilarAnswers("mugs", 163, 470, 0.3, 0.35), vouched_for=True)
    assert "163 of 470 that stated 30\u00a0% to 35\u00a0%, on held-out pictures of mugs" in text


def test_a_threshold_is_explained_by_number_coverage_and_accuracy_of_the_records_pictures():
    text = threshold_meaning(0.7, LABELS, CHOICE)
    assert "of 100 held-out pictures of mugs" in text
    assert "50\u00a0% would have had a trusted answer" in text
    assert "90\u00a0% of these answers were right. For other pictures it has never been measured." in text
    assert "other pictures" not in threshold_meaning(0.7, LABELS, replace(CHOICE, record_is_vouched_for=True))
    assert "none would have had" in threshold_meaning(0.99, LABELS, CHOICE)
    assert "never been measured" in threshold_meaning(0.7, ("joy", "awe"), CHOICE)


def test_an_answer_that_is_being_written_has_titles_for_its_tags_and_no_unfinished_tag():
    assert readable("<think><human>A < b</human></think><answer>jo") == "People: A < b\nEmotion: jo"
    for n in range(len("<confidence>")):
        assert "<" not in readable("<answer>joy</answer>" + "<confidence>"[:n])
