"""The real page with the tiny model, used through headless Chromium. Screenshots stay in out/chat-screenshots."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import staleness_of

from emocaliber.chat.server import bind, build_application
from tests.chat.browser import Browser
from tests.chat.conftest import bomb
from tests.chat.test_controller import Scripted, controller_of

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def afresh(browser: Browser) -> None:
    browser.open()


def shown_json(browser: Browser) -> list[dict[str, object]]:
    answers: list[dict[str, object]] = json.loads(browser.find("#json").get_property("value"))
    return answers


def test_a_picture_is_answered_and_the_bar_is_the_parsed_confidence(browser: Browser, faces: list[Path]):
    browser.give(faces[0])
    browser.ask()
    browser.shoot("answered")
    [answer] = shown_json(browser)
    [stated] = re.findall(r"<confidence>([\d.]+)</confidence>", str(answer["text"]))
    meter = browser.find("article.answer [role=meter]")
    assert float(meter.get_attribute("aria-valuenow") or "nan") == pytest.approx(100 * float(stated))
    track, fill = meter.size["width"], browser.find("article.answer .fill").size["width"]
    assert fill / track == pytest.approx(float(stated), abs=0.02)
    assert browser.text("article.answer .label") == answer["label"]
    assert answer["sentence"] == browser.find("article.answer .sentence").get_property("textContent")
    assert answer["record"] == browser.find("article.answer .record").get_property("textContent")
    assert len(browser.all("article.answer .shares li")) >= 3


@contextmanager
def serving(browser: Browser, engine: Scripted) -> Iterator[None]:
    """The browser's page is for a while one with this engine behind it."""
    listening = bind("127.0.0.1", 0)
    application = build_application(controller_of(engine))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none"))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    url, browser.url = browser.url, f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        browser.open()
        yield
    finally:
        browser.url, server.should_exit = url, True


def test_an_answer_appears_while_it_is_written(browser: Browser, faces: list[Path]):
    """At a page whose model stops within its answer, so that no machine is too fast to see it there."""
    engine = Scripted()
    engine.gate.clear()
    with serving(browser, engine):
        browser.choose("my own")
        browser.type("#own", "joy, awe")
        browser.give(faces[0])
        browser.find("#ask").click()
        browser.wait(lambda: "Emotion: j" in browser.text("#writing article"))
        assert "Asking: 0 of 1 answered." in browser.text("#status")
        assert not browser.all("article.answer")
        engine.gate.set()
        browser.wait(lambda: browser.text("article.answer .label") == "joy")
        assert not browser.all("#writing article")


def test_the_slider_changes_the_verdict_and_says_what_it_means(browser: Browser, faces: list[Path]):
    browser.give(faces[0])
    browser.ask()
    handle = browser.find("#threshold")
    handle.send_keys(Keys.HOME)
    browser.wait(lambda: browser.all("article.answer.trusted"))
    assert "state 0 %" in browser.text("#meaning")
    browser.shoot("everything-trusted")
    handle.send_keys(Keys.END)
    browser.wait(lambda: "state 100 %" in browser.text("#meaning"))
    assert not browser.all("article.answer.trusted") or "100" in browser.text("article.answer .stated")
    assert shown_json(browser)[0]["threshold"] == 1
    browser.shoot("hardly-anything-trusted")


def test_an_answer_outside_the_candidates_is_said_to_be_unreadable(browser: Browser, faces: list[Path]):
    browser.choose("my own")
    browser.type("#own", "grandeur, languor")
    browser.give(faces[0])
    browser.ask()
    browser.shoot("unreadable")
    assert browser.text("article.answer .label") == "No readable answer"
    assert not browser.all("article.answer [role=meter]")
    assert shown_json(browser)[0]["state"] != "ok"
    assert str(shown_json(browser)[0]["text"]) in browser.text("article.answer pre")


def test_follow_ups_several_pictures_and_asking_again(browser: Browser, faces: list[Path]):
    browser.give(faces[0], faces[1])
    browser.ask()
    assert len(browser.all("article.answer")) == 2
    browser.type("#question", "what if it were a man?")
    browser.find("#question").send_keys(Keys.ENTER)
    browser.wait(lambda: len(browser.all("article.answer")) == 4 and not browser.text("#status"))
    assert browser.text("article.answer:first-of-type .question") == "what if it were a man?"
    browser.shoot("follow-up")
    latest = browser.find("article.answer")
    browser.find("#retry").click()
    browser.wait(lambda: staleness_of(latest)(browser.driver))
    browser.wait(lambda: len(browser.all("article.answer")) == 4 and not browser.text("#status"))
    assert [row["question"] for row in shown_json(browser)] == ["", "", *["what if it were a man?"] * 2]
    browser.find("#clear").click()
    browser.wait(lambda: not browser.all("article.answer") and not browser.all("#tray li"))
    assert shown_json(browser) == []


def test_what_is_no_picture_is_refused_in_a_sentence(browser: Browser, tmp_path: Path):
    wrong = tmp_path / "notes.png"
    wrong.write_text("no picture at all")
    browser.give(wrong)
    assert "notes.png: not a PNG, JPEG, WEBP image" in browser.text("#status.alert")
    browser.shoot("wrong-file")


def test_a_bomb_is_refused_before_it_is_decoded(browser: Browser, tmp_path: Path):
    file = tmp_path / "bomb.png"
    file.write_bytes(bomb())
    browser.give(file)
    assert "10000 x 10000 pixels are more than" in browser.text("#status.alert")
    browser.shoot("bomb")


def test_a_drawing_with_a_script_in_it_is_refused(browser: Browser, tmp_path: Path):
    drawing = tmp_path / "drawing.svg"
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='owned'</script></svg>")
    browser.give(drawing)
    assert "drawing.svg: not a PNG" in browser.text("#status.alert")
    assert "owned" not in browser.driver.title


def test_asking_without_a_picture_says_what_is_missing(browser: Browser):
    browser.find("#ask").click()
    browser.wait(lambda: "Choose a picture first" in browser.text("#status.alert"))


HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>${1} {{7*7}} `x` </pre>"


def test_what_users_and_models_write_stays_text(browser: Browser, tmp_path: Path, faces: list[Path]):
    """At a page whose model writes HTML, in its reasoning, with labels that hold HTML."""
    text = f"<think><human>{HOSTILE}</human></think><answer>joy</answer><confidence>0.90</confidence>"
    hostile = tmp_path / "<img src=x onerror=document.title='owned'>.png"
    hostile.write_bytes(faces[0].read_bytes())
    with serving(browser, Scripted(text=text)):
        browser.choose("my own")
        browser.type("#own", "joy, <i>d</i>")
        browser.type("#question", HOSTILE)
        browser.give(hostile)
        browser.ask()
        browser.shoot("hostile")
        assert browser.text("article.answer .question") == HOSTILE
        assert browser.text("article.answer .label") == "joy"
        assert HOSTILE in browser.text("article.answer .reasoning dd")
        assert browser.text("article.answer .reasoning dt") == "People"
        assert browser.find("article.answer pre").get_property("textContent") == text
        assert browser.text("article.answer .meta") == f"{hostile.name} · joy, <i>d</i>"
        assert "owned" not in browser.driver.title
        assert len(browser.all("article.answer img")) == 1
        assert not browser.all("main script, main i, main b")


def test_two_users_at_once_see_only_their_own(browser: Browser, page_url: str, faces: list[Path]):
    other = Browser(page_url)
    try:
        browser.give(faces[2])
        other.give(faces[3])
        browser.find("#ask").click()
        other.ask()
        browser.wait(lambda: browser.all("article.answer"))
        assert [row["picture"] for row in shown_json(browser)] == [faces[2].name]
        assert [row["picture"] for row in shown_json(other)] == [faces[3].name]
    finally:
        other.close()


def test_everything_can_be_done_by_the_keyboard(browser: Browser, faces: list[Path]):
    browser.find("#picture-files").send_keys(str(faces[0]))  # what a file dialogue, which has its own keys, does
    browser.wait(lambda: browser.all("#tray li"))
    reached: list[str] = []
    browser.driver.execute_script("document.querySelector('#picture-files').focus()")
    for _ in range(20):
        press(browser, Keys.TAB)
        focused = browser.driver.execute_script("return document.activeElement.id")
        reached.append(focused)
        if focused == "label-set":
            press(browser, Keys.END)  # the last one is "my own", whose field comes next, and back
            browser.wait(browser.find("#own").is_displayed)
            press(browser, Keys.TAB)
            assert browser.driver.execute_script("return document.activeElement.id") == "own"
            browser.driver.switch_to.active_element.send_keys(Keys.SHIFT, Keys.TAB)
            press(browser, Keys.HOME)
            browser.wait(lambda: not browser.find("#own").is_displayed())
        if focused == "ask":
            press(browser, Keys.ENTER)
            browser.wait(lambda: browser.all("article.answer"))
        if focused == "threshold":
            press(browser, Keys.HOME)
            browser.wait(lambda: browser.all("article.answer.trusted"))
            break
    buttons = ["ask", "stop", "retry", "clear", "copy"]
    assert [name for name in reached if name in buttons] == buttons
    assert {"photograph", "label-set", "question"} <= set(reached)
    browser.find("#tab-ask").click()
    press(browser, Keys.ARROW_RIGHT)
    assert browser.find("#panel-gallery").is_displayed()


def press(browser: Browser, key: str) -> None:
    ActionChains(browser.driver).send_keys(key).perform()


def test_the_conversation_is_copied_as_json(browser: Browser, faces: list[Path], page_url: str):
    permission = {"origin": page_url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", permission)
    browser.give(faces[0])
    browser.ask()
    browser.find("#copy").click()
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, (e) => done(String(e)))"
    browser.wait(lambda: browser.driver.execute_async_script(read).startswith("["))
    assert json.loads(browser.driver.execute_async_script(read)) == shown_json(browser)


def test_the_page_asks_no_other_host_for_anything(browser: Browser, faces: list[Path], page_url: str):
    browser.requested()
    browser.errors()
    browser.open()
    browser.give(faces[0])
    browser.ask()
    requests = {urlsplit(url) for url in browser.requested()}
    assert {part.netloc for part in requests if part.scheme not in ("data", "blob")} == {urlsplit(page_url).netloc}
    assert not browser.errors()


def test_the_gallery_shows_the_doubtful_first_and_exports_what_is_chosen(browser: Browser, tmp_path: Path):
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    browser.find("#tab-gallery").click()
    browser.wait(lambda: browser.find("#gallery-ask").is_displayed())
    browser.find("#gallery-ask").click()
    browser.wait(lambda: "20 of 20 answered" in browser.text("#gallery-status"))
    browser.shoot("gallery")
    stated = [re.search(r"(\d+) %", element.text) for element in browser.all("#gallery li .value")]
    assert [match is None for match in stated] == [True, True, *[False] * 18]
    values = [int(match[1]) for match in stated if match]
    assert values == sorted(values)
    browser.find("#untrusted").click()
    browser.wait(lambda: "20 of 20" not in browser.text("#gallery-count"))
    shown = len(browser.all("#gallery li"))
    browser.find("#gallery-jsonl").click()
    browser.wait((tmp_path / "gallery.jsonl").is_file)
    rows = [json.loads(line) for line in (tmp_path / "gallery.jsonl").read_text().splitlines()]
    assert len(rows) == shown
    assert not any(row["trusted"] for row in rows)
    browser.find("#gallery-csv").click()
    browser.wait((tmp_path / "gallery.csv").is_file)
    assert len((tmp_path / "gallery.csv").read_text().splitlines()) == shown + 1


LOW_CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_has_enough_contrast(browser: Browser, faces: list[Path], theme: str):
    scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    try:
        browser.give(faces[0], faces[1])
        browser.ask()
        browser.shoot(f"theme-{theme}")
        page = browser.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (page == "rgb(252, 252, 251)") == (theme == "light")
        counted, low = browser.driver.execute_script(LOW_CONTRAST)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert counted > 40
    assert low == []


def test_on_a_telephone_nothing_is_wider_than_the_screen(browser: Browser, faces: list[Path]):
    telephone = {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", telephone)
    try:
        browser.open()
        browser.give(faces[0])
        browser.ask()
        browser.shoot("telephone")
        browser.driver.execute_script("document.querySelector('article.answer').scrollIntoView()")
        browser.shoot("telephone-answer")
        widest = (
            "return Math.max(...[...document.querySelectorAll('body *')].map(e => e.getBoundingClientRect().right))"
        )
        assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= 360
        assert browser.driver.execute_script(widest) <= 361
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name_for_a_screen_reader(browser: Browser, faces: list[Path]):
    browser.give(faces[0])
    browser.ask()
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "textbox", "slider", "combobox", "checkbox", "spinbutton", "tab", "meter", "image", "link"}
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    controls = [(role, name) for role, name in named if role in roles]
    assert {"button", "textbox", "slider", "combobox", "tab", "meter", "image"} <= {role for role, _ in controls}
    assert [role for role, name in controls if not name.strip()] == []
