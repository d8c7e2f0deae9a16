"""A prediction set beside an answer: named in words where sets were fitted for these labels, and nowhere else."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from emocaliber.calibration.doubt import FORMAT, DoubtMap, Familiar
from emocaliber.chat.answer import doubt_sentence, read_answer, set_sentence
from emocaliber.chat.terminal import lines_of
from emocaliber.core.predictions import Held, Prediction, Reason, Source, State
from emocaliber.core.prompting import load_template
from emocaliber.generation.engine import Response
from tests.chat.conftest import choice_of


def row(held: tuple[str, ...], holds: Held = Held.LABEL) -> Prediction:
    return Prediction("1", "t", "", "", None, "joy", 0.5, State.OK, Source.LOGPROB, "m", prediction_set=held,
                      set_coverage=0.9, set_holds=holds)  # fmt: skip


def test_the_sentence_names_the_labels_and_the_promise() -> None:
    assert set_sentence(row(("sadness", "fear"))).startswith("Sadness or fear: for 90\u00a0% of pictures like those")
    assert set_sentence(row(("sadness", "fear", "joy"))).startswith("Sadness, fear or joy:")
    assert set_sentence(row(("joy",))).endswith("the label is it.")
    assert "what one more person says is among them" in set_sentence(row(("joy", "fear"), Held.RATER))


DOUBT = DoubtMap(FORMAT, 0.05, None, 0.5, None, ())
LABELS = ("joy", "awe", "fear")


@pytest.mark.parametrize(("shares", "reason"), [((0.4, 0.4, 0.2), Reason.AMBIGUOUS), ((0.9, 0.05, 0.05), Reason.CLEAR)])
def test_an_answer_says_that_people_differ_where_they_do(shares: tuple[float, ...], reason: Reason) -> None:
    choice = replace(choice_of(), doubt=DOUBT, template=load_template("label"))
    response = Response("1", "<answer>joy</answer>", "stop", choices=(tuple(map(math.log, shares)),))
    answer = read_answer(response, choice, LABELS, name="p.png", threshold=0.7)
    assert answer.reason == answer.as_json()["reason"] == reason
    printed = " ".join(line.plain for line in lines_of(answer))
    assert ("People differ about such a picture" in printed) is (reason is Reason.AMBIGUOUS)
    assert read_answer(response, choice, LABELS, name="p", threshold=0.7, question="Why?").reason is None


def test_the_sentence_of_a_doubt_says_what_to_do() -> None:
    assert "let a person look" in doubt_sentence(replace_reason(Reason.UNFAMILIAR))
    assert "64\u00a0% probability" in doubt_sentence(replace_reason(Reason.AMBIGUOUS))
    assert doubt_sentence(replace_reason(Reason.CLEAR)) == doubt_sentence(row(("joy",))) == ""


def test_features_of_the_picture_tell_an_unfamiliar_one() -> None:
    width, eye = 2, np.eye(2, dtype=np.float32)
    known = Familiar(
        "m", width, np.zeros(2, np.float32).tobytes(), eye.tobytes(), tuple(np.linspace(0, 1, 99).tolist())
    )
    choice = replace(choice_of(), doubt=msgspec.structs.replace(DOUBT, familiar=known), template=load_template("label"))
    response = Response("1", "<answer>joy</answer>", "stop", choices=(tuple(map(math.log, (0.9, 0.05, 0.05))),))
    for place, reason in ((0.1, Reason.CLEAR), (9.0, Reason.UNFAMILIAR)):
        features = np.full((1, width), place)
        answer = read_answer(response, choice, LABELS, name="p", threshold=0.7, features=features)
        assert answer.reason is reason


def replace_reason(reason: Reason) -> Prediction:
    return msgspec.structs.replace(row(("joy",)), reason=reason, doubt_people=0.64)
