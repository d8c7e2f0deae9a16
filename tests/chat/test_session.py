"""Pictures are checked before they are decoded and keep nothing but pixels; a session is bounded, its own, and dropped
after a while; a follow-up quotes its own picture's turns."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from emocaliber.chat.record import Record
from emocaliber.chat.session import (
    LONGEST_NAME,
    MOST_BYTES,
    MOST_PICTURES,
    MOST_TURNS,
    Picture,
    Session,
    Sessions,
    display_name,
    read_picture,
)
from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS, ImageError
from emocaliber.generation.engine import Response
from tests.chat.conftest import bomb, choice_of, noisy_jpeg, png

CHOICE = replace(choice_of(), record=Record())
LABELS = ("joy", "awe")


def test_exif_is_dropped_and_orientation_kept():
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8825] = 6, "at home", {1: "N"}
    Image.new("RGB", (40, 20), "red").save(buffer, "JPEG", exif=exif)
    picture = read_picture(buffer.getvalue(), "photo.jpg")
    assert picture.image.size == (20, 40)
    assert not picture.image.getexif()
    assert not picture.image.info
    assert b"at home" not in base64.b64decode(picture.thumbnail.partition(",")[2])


def test_a_large_picture_is_made_as_small_as_models_are_shown_it():
    picture = read_picture(png(4000, 1000), "wide.png")
    assert picture.image.width * picture.image.height <= SHOWN_PIXELS
    assert len(picture.thumbnail) < 20_000
    small = read_picture(png(4000, 1000), "wide.png", 10_000).image
    assert 9_000 < small.width * small.height <= 10_000


def test_a_small_picture_keeps_its_pixels():
    encoded = noisy_jpeg(60, 40)
    with Image.open(BytesIO(encoded)) as opened:
        assert read_picture(encoded, "x").image.tobytes() == opened.tobytes()


@pytest.mark.parametrize(
    "encoded",
    [b"", b"GIF89a", b"<svg/>", b"%PDF-1.7", bomb(), b"\x89PNG\r\n\x1a\n", bytes(MOST_BYTES + 1)],
)
def test_what_cannot_be_used_is_one_sentence(encoded: bytes):
    with pytest.raises(ImageError, match=r"x\.png"):
        read_picture(encoded, "x.png")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("../../etc/passwd", "passwd"), ("C:\\x\\y.png", "y.png"), ("\x1b[2J", "[2J"), ("", "picture"), ("a/", "picture")],
)
def test_a_name_is_its_last_part_and_printable(name: str, shown: str):
    assert display_name(name) == shown
    assert len(display_name("x" * 1000)) == LONGEST_NAME


def picture(colour: str) -> Picture:
    return read_picture(png(20, 20, colour), f"{colour}.png")


RED, BLUE = picture("red"), picture("blue")


def response(label: str) -> Response:
    return Response("1", f"<answer>{label}</answer><confidence>0.90</confidence>", "stop")


def session_of(*pictures: Picture) -> Session:
    session = Session()
    for each in pictures:
        session.add_picture(each)
    return session


def answer(session: Session, question: str, label: str) -> None:
    asking = session.begin(LABELS, question)
    for each in session.pictures:
        session.add_turn(each, asking, response(label))


def test_pictures_gather_until_they_are_asked_about_and_then_make_room():
    session = session_of(RED, BLUE)
    assert session.pictures == [RED, BLUE]
    answer(session, "", "joy")
    assert session.pictures == [RED, BLUE]
    session.add_picture(RED)
    assert session.pictures == [RED]


def test_a_follow_up_quotes_only_its_own_picture():
    session = session_of(RED)
    answer(session, "", "awe")
    session.add_picture(BLUE)
    answer(session, "", "joy")
    [request] = session.requests(session.begin(LABELS, "why not awe?"), CHOICE)
    assert "why not awe?" in request.prompt
    assert "<answer>joy</answer>" in request.prompt
    assert "<answer>awe</answer>" not in request.prompt


def test_the_plain_question_quotes_nothing():
    session = session_of(RED)
    answer(session, "", "joy")
    assert session.requests(session.begin(LABELS, ""), CHOICE)[0].prompt == CHOICE.template.render(LABELS)


def test_asking_again_replaces_the_last_asking_alone():
    session = session_of(RED)
    answer(session, "", "joy")
    answer(session, "why?", "awe")
    asking = session.begin_again()
    assert (asking.labels, asking.question) == (LABELS, "why?")
    assert [turn.asking.question for turn in session.turns] == [""]


def test_nothing_can_be_asked_again_before_it_was_asked():
    with pytest.raises(UserError, match="nothing has been asked"):
        session_of(RED).begin_again()


def test_pictures_and_turns_are_bounded():
    full = session_of(*[RED] * MOST_PICTURES)
    with pytest.raises(UserError, match=rf"blue.png: at most {MOST_PICTURES} pictures"):
        full.add_picture(BLUE)
    session = session_of(RED)
    for _ in range(MOST_TURNS + 5):
        answer(session, "", "joy")
    assert len(session.turns) == MOST_TURNS
    assert len({turn.id for turn in session.turns}) == MOST_TURNS


def test_a_turn_as_json_is_its_answer():
    session = session_of(RED)
    answer(session, "why not awe?", "joy")
    row = session.turns[0].read(CHOICE, 0.7).as_json()
    assert (row["picture"], row["question"], row["label"], row["confidence"]) == ("red.png", "why not awe?", "joy", 0.9)


def test_cleared_a_session_holds_nothing():
    session = session_of(RED)
    answer(session, "", "joy")
    session.clear()
    assert (session.pictures, session.turns, session.last) == ([], [], None)


def test_a_session_has_a_name_that_nobody_can_guess_and_is_found_by_no_other():
    sessions = Sessions()
    name, other = sessions.open(), sessions.open()
    assert len(name) >= 32
    sessions.find(name).add_picture(RED)
    assert sessions.find(name).pictures == [RED]
    assert sessions.find(other).pictures == []
    for guess in ("", "../../etc/passwd", name[:-1]):
        with pytest.raises(UserError, match="reload the page"):
            sessions.find(guess)


def test_sessions_that_nobody_uses_are_dropped_by_time_and_by_number():
    short = Sessions(seconds=0.01)
    name = short.open()
    time.sleep(0.02)
    with pytest.raises(UserError, match="has ended"):
        short.find(name)
    assert len(short) == 0
    few = Sessions(most=2)
    first, second = few.open(), few.open()
    few.find(first)
    few.open()
    few.find(first)
    with pytest.raises(UserError):
        few.find(second)
