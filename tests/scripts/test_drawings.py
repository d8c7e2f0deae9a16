"""The base learns to read synthetic drawings only, and none of what is judged later."""

from __future__ import annotations

import pyarrow.parquet as pq

from emocaliber.core.taxonomy import KAOMOJI_10, SENTIMENT_3
from emocaliber.data.embedded import FILES
from scripts.tiny_world.drawings import reading_texts, shown_words, signs_of
from scripts.tiny_world.rendering import HELD_OUT_STYLES, READING_STYLES


def rows() -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(FILES["kaomoji"], columns=["text", "shows", "split"]).to_pylist()
    return rows


def test_no_text_that_is_calibrated_or_tested_on_is_read() -> None:
    judged = {row["text"] for row in rows() if row["split"] in {"calibrate", "test"}}
    assert not judged & set(reading_texts(rows()))


def test_the_held_out_style_shares_no_first_font_with_the_styles_that_are_read() -> None:
    read = {style.fonts[0] for style in READING_STYLES}
    assert not read & {style.fonts[0] for style in HELD_OUT_STYLES}
    assert not [font for style in READING_STYLES for font in style.fonts if "Noto" in font]


def test_signs_are_frequent_first_and_in_two_texts_at_least() -> None:
    assert signs_of(["★ω★", "ω", "ω♪", "♪", "☆"]) == ["ω", "♪"]


def test_what_a_drawing_shows_is_never_an_emotion_and_never_of_a_judged_face() -> None:
    shown = shown_words(rows())
    assert len(shown) > 3000
    assert not {word for words in shown.values() for word in words.split()} & {*KAOMOJI_10.labels, *SENTIMENT_3.labels}
    assert not set(shown) & {row["text"] for row in rows() if row["split"] in {"calibrate", "test"}}
