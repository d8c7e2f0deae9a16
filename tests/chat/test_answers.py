"""An answer shows what the reader read, whose alternatives they are, and the reasoning in its parts."""

from __future__ import annotations

import math

import pytest

from emocaliber.chat.answers import PROBABILITY, STATED, Answer, read_answer
from emocaliber.chat.reasoning import WHOLE, parts
from emocaliber.chat.record import Record, Stated, TaskRecord
from emocaliber.core.predictions import State
from emocaliber.core.prompting import load_template
from emocaliber.generation.engine import Response

LABELS = ("joy", "awe", "fear")
RECORD = Record((TaskRecord("t", tuple(sorted(LABELS)), (Stated(0.5, 50, 20), Stated(0.9, 50, 45)), 0),))


def read(text: str, *, template: str = "label-confidence", reason: str = "stop", **changes: object) -> Answer:
    response = Response("1", text, reason, **changes)  # type: ignore[arg-type]
    return read_answer(response, load_template(template), LABELS, name="p.png", record=RECORD, threshold=0.7)


def test_a_readable_answer():
    answer = read("<answer>joy</answer><confidence>0.90</confidence>")
    assert (answer.label, answer.confidence, answer.state, answer.trusted) == ("joy", 0.9, State.OK, True)
    assert answer.sentence == "Very sure: 9 in 10 answers like this are right."


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
    assert answer.basis == ""
    assert answer.alternatives == {}


def test_a_label_without_a_usable_confidence_is_not_trusted():
    answer = read("<answer>joy</answer><confidence>85</confidence>")
    assert answer.label == "joy"
    assert answer.confidence is None
    assert not answer.trusted
    assert "outside 0 to 1" in answer.sentence


def test_a_failed_engine_is_told_with_its_reason():
    answer = read("", reason="engine error", error="connection refused")
    assert "connection refused" in answer.sentence


def test_the_same_answer_at_another_threshold_changes_only_its_verdict():
    text = "<answer>joy</answer><confidence>0.90</confidence>"
    response = Response("1", text, "stop")
    high = read_answer(response, load_template("label-confidence"), LABELS, name="p", record=RECORD, threshold=0.95)
    assert not high.trusted
    assert high.sentence.startswith("Not sure")
    assert high.confidence == read(text).confidence


def test_a_typed_question_has_no_record_for_only_the_plain_one_was_measured():
    response = Response("1", "<answer>joy</answer><confidence>0.90</confidence>", "stop")
    template = load_template("label-confidence")
    answer = read_answer(response, template, LABELS, name="p", record=RECORD, threshold=0.7, question="why?")
    assert answer.like is None
    assert "never measured" in answer.sentence
    assert answer.trusted


def test_reasoning_comes_in_its_parts():
    found = parts("<think><human>A <b>smile</b>.</human><analysis>So joy.</analysis></think><answer>joy</answer>")
    assert found == {"People": "A <b>smile</b>.", "What follows": "So joy."}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<answer>joy</answer>", {}),
        ("<think>Hm.</think>x", {WHOLE: "Hm."}),
        ("<think>cut", {WHOLE: "cut"}),
        ("</think>", {}),
    ],
)
def test_reasoning_without_steps(text: str, found: dict[str, str]):
    assert parts(text) == found


def test_endless_tags_are_read_in_linear_time():
    assert parts("<think>" + "<human>" * 100_000) != {}
