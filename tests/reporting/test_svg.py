"""An SVG of the report is the same every time, asks for nothing, and can stand beside others."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from matplotlib.axes import Axes

from emocaliber.reporting.svg import BLUE, draw_svg, standalone
from tests.reporting.pages import Page


def drawing(axes: Axes) -> None:
    axes.bar([0, 1], [2, 1], color=BLUE.light, hatch="//")
    axes.plot([0, 1], [1, 2], "o-", color=BLUE.light)
    axes.set_title("price $5 & <b>$x_2</b>")


def test_the_same_figure_gives_the_same_bytes():
    assert draw_svg("a", "words", drawing) == draw_svg("a", "words", drawing)


def test_nothing_is_fetched_and_no_namespace_metadata_or_date_is_left():
    svg = draw_svg("a", "words", drawing)
    assert Page(svg).requests == []
    assert "http" not in svg
    assert "metadata" not in svg
    assert not re.search(r"20\d\d-\d\d", svg)


def test_two_figures_in_one_page_share_no_id_and_every_reference_is_defined():
    page = Page(draw_svg("a", "words", drawing) + draw_svg("b", "words", drawing))
    assert max(page.ids.values()) == 1
    assert page.links <= set(page.ids)
    assert page.links


def test_colours_follow_the_page():
    svg = draw_svg("a", "words", drawing)
    assert f"var(--blue, {BLUE.light})" in svg
    assert not re.search(rf"(?<!, ){BLUE.light}", svg)


def test_the_alternative_text_is_escaped_and_names_the_picture():
    svg = draw_svg("a", "a < b & <script>", drawing)
    assert '<title id="a-title">a &lt; b &amp; &lt;script&gt;</title>' in svg
    assert 'aria-labelledby="a-title"' in svg


def test_dollar_signs_and_tags_in_labels_are_drawn_as_they_are():
    assert "price $5 &amp; &lt;b&gt;$x_2&lt;/b&gt;" in draw_svg("a", "words", drawing)


def test_a_standalone_file_is_well_formed_xml():
    assert ET.fromstring(standalone(draw_svg("a", "words", drawing))).tag == "{http://www.w3.org/2000/svg}svg"
