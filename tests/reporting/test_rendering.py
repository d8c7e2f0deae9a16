"""HTML and Markdown say the same, escape what a model wrote, and ask for nothing from outside."""

from __future__ import annotations

import base64
import re

import pytest

from emocaliber.reporting.document import (
    Cell,
    Document,
    Figure,
    Gallery,
    Panel,
    Paragraph,
    Section,
    Table,
    Terms,
    Tile,
    Tiles,
)
from emocaliber.reporting.pages import escaped, image_uri, render_html, render_markdown
from emocaliber.reporting.run_summary import Example
from emocaliber.reporting.svg import draw_svg
from tests.reporting.pages import Page
from tests.reporting.synthetic import picture

HOSTILE = (
    '"><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }} ![x](http://evil.example/a.png)'
    " [click](javascript:alert(1)) | cell | `code` http://evil.example www.evil.example </pre></style>&amp;"
)


def example(**changes: object) -> Example:
    fields = {
        "kind": "confident mistake",
        "id": "7",
        "task": "kaomoji",
        "group": "trained styles",
        "truth": "sad",
        "predicted": "happy",
        "confidence": 0.95,
        "response": "<answer>happy</answer>",
        "image": base64.b64encode(picture("7")).decode(),
    }
    return Example(**(fields | changes))  # type: ignore[arg-type]


def document(text: str) -> Document:
    """One block of every kind, `text` in every place that takes text."""
    panel = Panel("p", text, draw_svg("p", text, lambda axes: axes.set_xlabel(text)))
    written = dict.fromkeys(("id", "task", "group", "truth", "predicted", "response"), text)
    return Document(
        text,
        [Paragraph(text, lead=True), Tiles([Tile(text, text, text)])],
        [
            Section(
                text,
                [
                    Terms([(text, text)]),
                    Table(text, [text, text], [[Cell(text, text), Cell(text)]], frozenset({0})),
                    Figure(text, [panel], text),
                    Gallery(text, [example(**written)]),
                ],
                folded=True,
            )
        ],
    )


def test_hostile_text_stays_text_in_html():
    page = Page(render_html(document(HOSTILE)))
    assert page.tags["script"] == 0
    assert page.tags["img"] == 1
    assert page.handlers == []
    assert page.requests == []
    assert page.unbalanced == []
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text


def test_hostile_text_stays_text_in_markdown():
    text, _ = render_markdown(document(HOSTILE))
    assert not re.search(r"<[a-z/]", text)
    assert re.findall(r"(?<!\\)\]\((?!figures/|images/)", text) == []
    assert not re.search(r"https?://|www\.", text)


def test_hostile_text_cannot_break_out_of_a_markdown_table():
    text, _ = render_markdown(document("a | b\n\n# heading\n| c"))
    for line in text.splitlines():
        assert not line.startswith("# heading")
    assert r"a \| b \# heading \| c" in text


def test_the_page_forbids_scripts_and_requests():
    page = render_html(document("words"))
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert "<script" not in page


def test_html_and_markdown_hold_the_same_words():
    words = "ordinary words, 12 of them"
    html = Page(render_html(document(words))).text
    markdown, _ = render_markdown(document(words))
    assert html.count(words) >= 15
    assert markdown.count(escaped(words)) >= 15


def test_markdown_shows_only_files_that_come_with_it():
    text, files = render_markdown(document("words"))
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert set(shown) == set(files)
    assert {name.rpartition(".")[2] for name in files} == {"svg", "png"}


def test_names_of_image_files_do_not_come_from_ids():
    _, files = render_markdown(Document("t", [Gallery("g", [example(id="../../etc/passwd")])], []))
    assert all(re.fullmatch(r"images/[0-9a-f]{16}\.png", name) for name in files)


@pytest.mark.parametrize("content", [b"<svg onload='alert(1)'/>", b"GIF89a", b""])
def test_a_picture_that_is_no_png_jpeg_or_webp_is_refused(content: bytes):
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        image_uri(base64.b64encode(content).decode())


def test_a_picture_is_embedded_unchanged():
    image = base64.b64encode(picture("7")).decode()
    assert image_uri(image) == f"data:image/png;base64,{image}"


def test_rendering_twice_gives_the_same_bytes():
    assert render_html(document("words")) == render_html(document("words"))
    assert render_markdown(document("words")) == render_markdown(document("words"))


def test_every_link_of_the_contents_leads_to_a_section():
    page = Page(render_html(document("Some heading: 1 & 2")))
    assert page.links <= set(page.ids)
    assert max(page.ids.values()) == 1
