"""People answer a gallery's pictures, the most doubtful first, and what they say is kept and found again."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import numpy as np
import pytest
import uvicorn
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains

from emocaliber.calibration.doubt import Familiar
from emocaliber.chat.background import BackgroundAsking
from emocaliber.chat.batching import Batcher
from emocaliber.chat.desk import Export, Given, Row
from emocaliber.chat.gallery import Gallery, files_of
from emocaliber.chat.gallery_desk import GalleryDesk
from emocaliber.chat.review_page import ReviewRoutes
from emocaliber.chat.server import bind, build_application
from emocaliber.chat.session import Asking, Turn
from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.generation.engine import OnToken, Request, Response
from emocaliber.runs.review_journal import UNCLEAR, AnswerJournal
from tests.chat.browser import Browser
from tests.chat.conftest import png
from tests.chat.test_controller import Scripted, controller_of
from tests.chat.test_server import answer
from tests.chat.test_session import CHOICE
from tests.chat.test_sets_of_answers import DOUBT


def said(name: str, label: str, confidence: str) -> Turn:
    text = f"<answer>{label}</answer><confidence>{confidence}</confidence>"
    return Turn(0, name, "", Asking(0, CHOICE.labels, ""), Response(name, text, "stop"))


@pytest.fixture
def desk(album: Path, tmp_path: Path) -> GalleryDesk:
    gallery = Gallery(album, files_of(album), reviewed=True)
    for name, label, confidence in [("01.png", CHOICE.labels[0], "0.95"), ("02.png", CHOICE.labels[1], "0.20"),
                                    ("04.png", CHOICE.labels[1], "0.40"), ("05.png", "nonsense", "0.90")]:  # fmt: skip
        gallery.turns[name] = said(name, label, confidence)
    return GalleryDesk(gallery, CHOICE, 0.7, tmp_path / "answers.jsonl")


def row_of(desk: GalleryDesk, name: str) -> int:
    return next(int(item["row"]) for item in desk.state()["items"] if item["id"] == name)


def test_the_queue_goes_by_reason_and_then_by_doubt(desk: GalleryDesk):
    items: list[dict[str, Any]] = desk.state()["items"]
    assert [items[place]["id"] for place in (0, 1, 2, -1)] == ["05.png", "02.png", "04.png", "01.png"]
    assert [item["reason"] for item in items[2:5]] == ["the model is unsure", *["the model was not asked"] * 2]
    assert (items[0]["reason"], items[-1]["reason"]) == ("no readable answer", "the model is sure")
    assert len(items) == 20


class Tower:
    """Looks at pictures, and finds the wide ones strange."""

    def look(self, images: Sequence[Image.Image | None]) -> np.ndarray:
        return np.array([[9.0 if image is not None and image.width > 60 else 0.1] * 2 for image in images])


KNOWN = Familiar(
    "m",
    2,
    np.zeros(2, np.float32).tobytes(),
    np.eye(2, dtype=np.float32).tobytes(),
    tuple(np.linspace(0, 1, 99).tolist()),
)


def test_pictures_are_asked_about_by_themselves_and_what_is_unfamiliar_comes_first(tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, width in enumerate((40, 41, 200)):
        (folder / f"{number}.png").write_bytes(png(width, 40, "orange"))
    label = CHOICE.labels[0]
    shares = tuple(np.log([0.9, *[0.1 / (len(CHOICE.labels) - 1)] * (len(CHOICE.labels) - 1)]).tolist())

    class Sure(Scripted):
        def stream(self, requests: Sequence[Request], on_token: OnToken) -> list[Response]:
            return [replace(said, choices=(shares,)) for said in super().stream(requests, on_token)]

    engine = Sure(text=f"<answer>{label}</answer>")
    doubt = msgspec.structs.replace(DOUBT, familiar=KNOWN)
    choice = replace(CHOICE, doubt=doubt, template=load_template("label"))
    gallery = Gallery(folder, files_of(folder), reviewed=True)
    batcher = Batcher(lambda: engine)
    asking = BackgroundAsking(gallery, choice, batcher, Tower())  # type: ignore[arg-type]
    desk = GalleryDesk(gallery, choice, 0.7, tmp_path / "answers.jsonl", asking)
    assert desk.state()["asking"] in (True, False)
    until = time.monotonic() + 60
    while asking.running and time.monotonic() < until:
        time.sleep(0.02)
    batcher.close()
    state = desk.state()
    assert (state["asking"], asking.problem, state["words"]) == (False, "", "The most doubtful first.")
    assert [(item["id"], item["reason"]) for item in state["items"]] == [
        ("2.png", "unlike what the model has seen"), ("0.png", "the model is unsure"), ("1.png", "the model is unsure"),
    ]  # fmt: skip


def test_a_model_that_fails_is_said_once_and_people_answer_all_the_same(tmp_path: Path, album: Path):
    def broken() -> Scripted:
        raise RuntimeError("no memory")

    gallery = Gallery(album, files_of(album), reviewed=True)
    batcher = Batcher(broken)
    asking = BackgroundAsking(gallery, CHOICE, batcher)
    desk = GalleryDesk(gallery, CHOICE, 0.7, tmp_path / "answers.jsonl", asking)
    desk.state()
    until = time.monotonic() + 60
    while asking.running and time.monotonic() < until:
        time.sleep(0.02)
    batcher.close()
    state = desk.state()
    assert "could not be loaded" in state["words"]
    assert "no memory" in state["words"]
    assert len(state["items"]) == 20


def test_answers_are_kept_taken_back_and_found_again(desk: GalleryDesk, tmp_path: Path, album: Path):
    first, second = row_of(desk, "02.png"), row_of(desk, "04.png")
    assert desk.answer(Given(first, CHOICE.labels[0]))["answered"] == 1
    desk.answer(Given(second, UNCLEAR))
    assert AnswerJournal(tmp_path / "answers.jsonl").read() == {"02.png": CHOICE.labels[0], "04.png": UNCLEAR}
    assert desk.answer(Given(second, None))["answered"] == 1
    again = GalleryDesk(Gallery(album, files_of(album)), CHOICE, 0.7, tmp_path / "answers.jsonl")
    assert again.state()["answered"] == 1
    assert "02.png" not in [item["id"] for item in again.state()["items"]]


def test_what_is_not_of_this_gallery_is_refused_in_a_sentence(desk: GalleryDesk, album: Path):
    for row in (-1, 20):
        with pytest.raises(UserError, match="there is no picture"):
            desk.answer(Given(row, CHOICE.labels[0]))
        with pytest.raises(UserError, match="there is no picture"):
            desk.picture(Row(row))
    with pytest.raises(UserError, match="is not among the labels"):
        desk.answer(Given(0, "bliss"))
    with pytest.raises(UserError, match=r"theirs.csv, line 3: there is no picture '../x.png' here"):
        desk.take(f"id,answer\n02.png,{CHOICE.labels[0]}\n../x.png,{CHOICE.labels[0]}\n".encode(), "theirs.csv")
    assert desk.state()["answered"] == 0
    link = desk.picture(Row(files_of(album).index("link.png")))
    assert "lies outside" in link["problem"]
    assert str(album.parent) not in link["problem"]


def test_tasks_go_out_with_their_score_and_come_back(desk: GalleryDesk, album: Path):
    tasks = json.loads(desk.export(Export("studio")))
    assert [task["data"]["row"] for task in tasks[:3]] == ["05.png", "02.png", "04.png"]
    assert tasks[1]["predictions"][0]["score"] == 0.2
    assert str(album).encode() not in desk.export(Export("csv")) + desk.export(Export("studio"))
    lines = "".join(f"{task['data']['row']},{CHOICE.labels[0]}\n" for task in tasks)
    assert desk.take(f"row,emotion\n{lines}".encode(), "back.csv") == "back.csv: 20 answers, 20 of them new."
    assert desk.state()["phase"] == "done"


def test_the_chat_serves_it_behind_the_same_protection(desk: GalleryDesk):
    more = ReviewRoutes(desk, Event()).routes("/review.html")
    assert "Which emotion do you see?" in answer("/review.html", more=more)[1]
    assert "Ask about a picture" in answer("/", more=more)[1]
    assert answer("/review/state", b"{}", more=more)[0] == 200
    assert answer("/review/state", b"{}", more=more, password="ann:horse")[0] == 401
    assert answer("/review/state", b"{}", more=more, headers={"origin": "http://evil.example"})[0] == 403
    assert answer("/review.html")[0] == 404
    status, text, _ = answer("/review/answer", b'{"row": 0, "label": "bliss"}', more=more)
    assert (status, "is not among the labels" in text) == (422, True)
    assert answer("/review/answer", b'{"row": "../x", "label": null}', more=more)[0] == 400


@pytest.mark.slow
def test_a_gallery_is_answered_with_the_keyboard(album: Path, tmp_path: Path):
    """From the gallery's tab to the page, whose answers are in the file; a scripted model answers."""
    gallery = Gallery(album, files_of(album), reviewed=True)
    controller = replace(controller_of(Scripted()), gallery=gallery)
    desk = GalleryDesk(gallery, controller.choice, 0.7, tmp_path / "answers.jsonl")
    application = build_application(controller, more=ReviewRoutes(desk, Event()).routes("/review.html"))
    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none"))
    Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    person = Browser(f"http://127.0.0.1:{listening.getsockname()[1]}")
    try:
        person.find("#tab-gallery").click()
        person.find("#gallery-ask").click()
        person.wait(lambda: "20 of 20 answered" in person.text("#gallery-status"))
        person.find("#gallery-review").click()
        person.wait(lambda: person.all("body[data-ready]") and person.text("#answered") == "0")
        first = person.text("#name")
        assert first in ("<b>broken.png", "link.png")
        ActionChains(person.driver).send_keys("1").perform()
        person.wait(lambda: person.text("#answered") == "1" and person.text("#name") != first)
        person.shoot("gallery-review")
        assert AnswerJournal(tmp_path / "answers.jsonl").read().keys() == {first}
        assert not person.errors()
    finally:
        person.close()
        server.should_exit = True
