"""What users and models write stays text on the page."""

from __future__ import annotations

import re

from emocaliber.chat.pictures import read_picture
from emocaliber.chat.reasoning import in_words
from emocaliber.chat.rendering import answers_html, heading_html, message_html, tray_html, writing_html
from tests.chat.conftest import png
from tests.chat.test_answers import read
from tests.reporting.pages import Page

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)> ${alert(1)} {{ 7*7 }} `x` </pre></details>"
THUMBNAIL = read_picture(png(8, 8), "p").thumbnail


def check(html: str) -> Page:
    assert not re.search(r"[{}$`]", html)
    page = Page(html)
    assert page.tags["script"] == 0
    assert page.handlers == []
    assert page.unbalanced == []
    assert page.requests == []
    return page


def test_hostile_text_of_a_model_stays_text():
    answer = read(f"<think><human>{HOSTILE}</human></think>{HOSTILE}<answer>joy</answer><confidence>0.9</confidence>")
    page = check(answers_html([(answer, THUMBNAIL)]))
    assert "<script>alert(1)</script>" in page.text
    assert page.tags["img"] == 1


def test_hostile_text_of_an_unreadable_answer_stays_text():
    page = check(answers_html([(read(HOSTILE), THUMBNAIL)]))
    assert "No readable answer" in page.text
    assert "{{ 7*7 }}" in page.text


def test_hostile_names_and_messages_stay_text():
    check(message_html(HOSTILE, "alert"))
    check(heading_html(HOSTILE, HOSTILE))
    check(tray_html([read_picture(png(8, 8), HOSTILE)]))


def test_the_bar_says_its_value_to_a_screen_reader():
    answer = read("<answer>joy</answer><confidence>0.90</confidence>")
    html = answers_html([(answer, THUMBNAIL)])
    assert 'role="meter"' in html
    assert 'aria-valuenow="90"' in html


def test_the_newest_answer_stands_first():
    answers = [(read(f"<answer>{label}</answer><confidence>0.90</confidence>"), THUMBNAIL) for label in ("joy", "awe")]
    page = Page(answers_html(answers))
    assert page.text.index("awe") < page.text.index("joy")


def test_what_is_being_written_stays_text_and_its_tags_become_titles():
    page = check(writing_html([("a<b>.png", f"<think><human>{HOSTILE}</human></think><answer>jo")]))
    assert "<script>alert(1)</script>" in page.text
    assert "People: " in page.text
    assert "Feeling: jo" in page.text
    assert "think" not in page.text
    assert writing_html([]) == ""


def test_a_tag_that_is_not_finished_is_not_shown():
    for n in range(len("<confidence>")):
        assert "<" not in in_words("<answer>joy</answer>" + "<confidence>"[:n])
