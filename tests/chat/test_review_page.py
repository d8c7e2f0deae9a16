"""A person reviews 50 pictures with the keyboard alone; each answer is kept before the next picture is shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from emocaliber.chat.desk import Given, ReviewDesk, Row
from emocaliber.chat.review_page import build_application
from emocaliber.chat.server import bind
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import write_predictions
from emocaliber.runs.review import Phase, Review, open_review, start_review
from emocaliber.runs.review_journal import UNCLEAR
from emocaliber.runs.review_record import ReviewSettings
from emocaliber.runs.review_rows import pictures_of
from tests.chat.browser import Browser
from tests.chat.conftest import png
from tests.chat.test_page import LOW_CONTRAST
from tests.runs.reviews import LABELS, TRUTH, rows_and_truth

DRAWN = 30


@pytest.fixture
def review(tmp_path: Path) -> Review:
    """Of 120 pictures, 30 of them drawn; one is broken."""
    (tmp_path / "photos").mkdir()
    for number in range(120):
        (tmp_path / "photos" / f"{number:03}.png").write_bytes(png(40 + number, 60, "orange"))
    (tmp_path / "photos" / "000.png").write_text("no picture")
    write_predictions(tmp_path / "answers.jsonl", rows_and_truth()[0][:120])
    settings = ReviewSettings(0.05, 0.8, sample=DRAWN, seed=3, pictures=(str(tmp_path / "photos"),))
    return start_review(tmp_path / "review", tmp_path / "answers.jsonl", settings)


def desk_of(review: Review) -> ReviewDesk:
    return ReviewDesk(review, pictures_of(review.record.pictures), "labels.csv")


def test_the_sample_s_model_answers_never_reach_the_page(review: Review):
    desk = desk_of(review)
    assert {item["model"] for item in desk.state()["items"]} == {None}
    for item in desk.state()["items"]:
        desk.answer(Given(item["row"], TRUTH[item["id"]]))
    state = desk.state()
    assert state["phase"] == "rest"
    assert next(iter(state["reasons"])) == "no readable answer"
    assert (state["answered"], state["total"]) == (0, len(state["items"]))


def test_wrong_rows_and_broken_pictures_are_sentences(review: Review):
    desk = desk_of(review)
    with pytest.raises(UserError, match="there is no row 120"):
        desk.answer(Given(120, "joy"))
    with pytest.raises(UserError, match="'bliss' is not among the labels"):
        desk.answer(Given(5, "bliss"))
    assert "000.png" in desk.picture(Row(0))["problem"]
    assert desk.picture(Row(5))["picture"].startswith("data:image/webp;base64,")


class Reviewer(Browser):
    """A person at the review page."""

    def open(self) -> None:
        """Load the page."""
        self.driver.get(self.url)
        self.wait(lambda: self.all("body[data-ready]"))

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    @property
    def shown(self) -> str:
        """The name of the picture on the screen."""
        return self.text("#name")

    @property
    def answered(self) -> int:
        return int(self.text("#answered"))

    def answer(self, label: str) -> None:
        """Press the label's key, and wait until the answer is kept and the next question is there."""
        key = "-" if label == UNCLEAR else str(LABELS.index(label) + 1)
        before, counted = self.shown, self.answered
        self.press(key)
        self.wait(lambda: self.find("#finished").is_displayed() or (self.answered > counted and self.shown != before))


@pytest.fixture
def reviewer(review: Review) -> Iterator[Reviewer]:
    listening, stop = bind("127.0.0.1", 0), threading.Event()
    application = build_application(desk_of(review), stop)
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    person = Reviewer(f"http://127.0.0.1:{listening.getsockname()[1]}")
    try:
        yield person
        if person.all("#go-on") and not stop.is_set():
            stop.set()
    finally:
        person.close()
        server.should_exit = True
        thread.join(10)


@pytest.mark.slow
def test_a_person_reviews_fifty_pictures_with_the_keyboard_alone(review: Review, reviewer: Reviewer):
    reviewer.shoot("review-sample")
    first = reviewer.shown
    reviewer.press(Keys.ARROW_RIGHT)  # later
    reviewer.wait(lambda: reviewer.shown != first)
    reviewer.answer("joy" if TRUTH[reviewer.shown] != "joy" else "fear")  # a slip, taken back
    reviewer.press(Keys.BACKSPACE)
    reviewer.wait(lambda: reviewer.answered == 0)
    reviewer.press("m")  # the model's answer is not to be had yet
    assert not reviewer.find("#model").is_displayed()
    seen = []
    while not reviewer.find("#finished").is_displayed():
        seen.append(reviewer.shown)
        reviewer.answer(TRUTH[reviewer.shown])
        assert open_review(review.folder).answers.keys() == set(seen)
    assert sorted(seen) == sorted(review.record.sample)
    reviewer.shoot("review-between")
    reviewer.press(Keys.ENTER)
    reviewer.wait(lambda: reviewer.find("#desk").is_displayed())
    assert "no readable answer" in reviewer.text("#reasons")
    reviewer.press("m")
    reviewer.wait(lambda: reviewer.find("#model").is_displayed())
    reviewer.shoot("review-rest")
    reviewer.press("g")  # to the next reason
    reviewer.wait(lambda: reviewer.text("#reason") == "the model is unsure")
    reviewer.answer(UNCLEAR)
    unclear = next(name for name, label in open_review(review.folder).answers.items() if label == UNCLEAR)
    reviewer.press(Keys.ARROW_LEFT)  # back, and another answer
    reviewer.wait(lambda: reviewer.shown == unclear)
    reviewer.press(str(LABELS.index(TRUTH[unclear]) + 1))
    reviewer.wait(lambda: reviewer.shown != unclear)
    count = DRAWN + 1
    while not reviewer.find("#finished").is_displayed():
        reviewer.answer(TRUTH[reviewer.shown])
        count += 1
    assert count >= 50
    reviewer.wait(lambda: reviewer.text("#finished-title") == "All done")
    reviewer.press(Keys.BACKSPACE)  # a slip at the very end is taken back like any other
    reviewer.wait(lambda: reviewer.find("#desk").is_displayed())
    last = reviewer.shown
    assert last not in open_review(review.folder).answers
    reviewer.answer(TRUTH[last])
    reviewer.wait(lambda: reviewer.text("#finished-title") == "All done")
    reviewer.shoot("review-done")
    again = open_review(review.folder)
    assert again.phase is Phase.DONE
    assert all(label == TRUTH[name] for name, label in again.answers.items())
    assert len((review.folder / "labels.csv").read_text().splitlines()) == 121
    reviewer.press(Keys.ENTER)
    reviewer.wait(lambda: "Closed" in reviewer.text("#finished-words"))
    assert not reviewer.errors()


@pytest.mark.slow
def test_tasks_go_to_label_studio_and_answers_come_back(review: Review, reviewer: Reviewer, tmp_path: Path):
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    reviewer.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    reviewer.find("#more summary").click()
    reviewer.find("[data-export=studio]").click()
    reviewer.wait((tmp_path / "label-studio.json").is_file)
    tasks = json.loads((tmp_path / "label-studio.json").read_text())
    assert [task["data"]["row"] for task in tasks] == review.record.sample
    for task in tasks:
        chosen = {"type": "choices", "value": {"choices": [TRUTH[task["data"]["row"]]]}}
        task["annotations"] = [{"result": [chosen], "was_cancelled": False}]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    reviewer.find("#take").send_keys(str(tmp_path / "export.json"))
    reviewer.wait(lambda: "30 answers, 30 of them new" in reviewer.text("#message"))
    assert reviewer.text("#finished-title") == "The random sample is done"
    (tmp_path / "wrong.csv").write_text("id,answer\n005.png,bliss\n")
    reviewer.find("#take").send_keys(str(tmp_path / "wrong.csv"))
    reviewer.wait(lambda: "'bliss' is not among the labels" in reviewer.text("#message.alert"))


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_of_a_review_has_enough_contrast(reviewer: Reviewer, theme: str):
    scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    reviewer.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    reviewer.answer("joy")
    reviewer.press(Keys.ARROW_LEFT)
    reviewer.wait(lambda: reviewer.all(".choice.given"))
    reviewer.shoot(f"review-{theme}")
    counted, low = reviewer.driver.execute_script(LOW_CONTRAST)
    assert counted > 15
    assert low == []
