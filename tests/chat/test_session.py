"""A session keeps what is in question and what was said, within bounds; a follow-up quotes its own picture's turns."""

from __future__ import annotations

import json

from emocaliber.chat.models import ModelChoice
from emocaliber.chat.pictures import Picture, read_picture
from emocaliber.chat.record import Record
from emocaliber.chat.session import MOST_PICTURES, MOST_TURNS, Question, Session
from emocaliber.core.prompting import load_template
from emocaliber.generation.engine import Response
from tests.chat.conftest import png

TEMPLATE = load_template("label-confidence")
CHOICE = ModelChoice(None, None, None, None, "transformers", "cpu", 16, TEMPLATE, Record())
PLAIN = Question(("joy", "awe"), "")
WHY = Question(("joy", "awe"), "why not awe?")


def picture(colour: str) -> Picture:
    return read_picture(png(20, 20, colour), f"{colour}.png")


RED, BLUE = picture("red"), picture("blue")


def said(label: str) -> Response:
    return Response("1", f"<answer>{label}</answer><confidence>0.90</confidence>", "stop")


def answered(session: Session, question: Question, label: str) -> Session:
    session = session.asking(question)
    for one in session.pictures:
        session = session.with_turn(one, question, said(label))
    return session


def test_pictures_gather_until_they_are_asked_about_and_then_make_room():
    session = Session().with_pictures([RED]).with_pictures([BLUE])
    assert session.pictures == (RED, BLUE)
    after = answered(session, PLAIN, "joy")
    assert after.pictures == (RED, BLUE)
    assert after.with_pictures([RED]).pictures == (RED,)
    assert after.with_pictures([]).pictures == (RED, BLUE)


def test_a_follow_up_quotes_only_its_own_picture():
    session = Session().with_pictures([RED])
    session = answered(session, PLAIN, "awe").with_pictures([BLUE])
    session = answered(session, PLAIN, "joy")
    [request] = session.requests(CHOICE, WHY)
    assert "why not awe?" in request.prompt
    assert "<answer>joy</answer>" in request.prompt
    assert "<answer>awe</answer>" not in request.prompt


def test_the_plain_question_quotes_nothing():
    session = answered(Session().with_pictures([RED]), PLAIN, "joy")
    assert session.requests(CHOICE, PLAIN)[0].prompt == TEMPLATE.render(["joy", "awe"])


def test_asking_again_takes_back_the_last_asking_alone():
    session = answered(answered(Session().with_pictures([RED]), PLAIN, "joy"), WHY, "awe")
    assert [turn.question for turn in session.retrying().turns] == [""]
    assert session.retrying().last == WHY


def test_pictures_and_turns_are_bounded():
    assert len(Session().with_pictures([RED] * 50).pictures) == MOST_PICTURES
    session = Session().with_pictures([RED]).asking(PLAIN)
    for _ in range(MOST_TURNS + 5):
        session = session.with_turn(RED, PLAIN, said("joy"))
    assert len(session.turns) == MOST_TURNS


def test_the_conversation_as_json_is_the_answers():
    session = answered(Session().with_pictures([RED]), WHY, "joy")
    [row] = json.loads(session.as_json(CHOICE, 0.7))
    assert (row["picture"], row["question"], row["label"], row["confidence"]) == ("red.png", "why not awe?", "joy", 0.9)
