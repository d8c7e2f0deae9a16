"""The palette can be read on light and dark pages, and without seeing colours."""

from __future__ import annotations

import pytest

from emocaliber.reporting.svg import ALL, CARD, PAGE, SERIES, TEXT, Colour, series_styles


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, other: str) -> float:
    bright, dim = sorted((luminance(first), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("ground", [PAGE, CARD], ids=lambda colour: colour.name)
@pytest.mark.parametrize("colour", TEXT, ids=lambda colour: colour.name)
def test_text_reaches_the_contrast_of_wcag_aa(colour: Colour, ground: Colour):
    assert contrast(colour.light, ground.light) >= 4.5
    assert contrast(colour.dark, ground.dark) >= 4.5


@pytest.mark.parametrize("colour", SERIES, ids=lambda colour: colour.name)
def test_lines_reach_the_contrast_of_wcag_aa_for_graphics(colour: Colour):
    assert contrast(colour.light, PAGE.light) >= 3
    assert contrast(colour.dark, PAGE.dark) >= 3


def test_each_light_colour_names_one_role():
    assert len({colour.light for colour in ALL}) == len(ALL)


def test_series_differ_in_marker_and_in_dashes_without_their_colour():
    styles = series_styles(6)
    assert len({style.marker for style in styles}) == 6
    assert len({style.dashes for style in styles}) == 6
