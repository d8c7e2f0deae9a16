"""Draw a line of text into a 280×28 picture, glyph by glyph, in a named style.

Not a text shaper: characters stand one after another, combining marks are drawn over the character before them.
The fonts are Debian packages, needed only by the commands that make pictures:

    scripts/build_kaomoji.py        python -m scripts.tiny_world.base
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from emocaliber.core.errors import UserError

WIDTH, HEIGHT = 280, 28
FONT_ROOT = Path("/usr/share/fonts")

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Style:
    """A stack of fonts: a character is drawn by the first font that has it. `size` is the font size in pixels."""

    name: str
    fonts: tuple[str, ...]
    size: int


class Glyph(NamedTuple):
    """Ink from 0 (none) to 255, its offset from pen position and baseline, and how far the pen moves on, in pixels."""

    ink: Pixels
    left: int
    top: int
    advance: int


class Span(NamedTuple):
    """Where a character stands in the picture: horizontal pixels [start, end)."""

    character: str
    start: int
    end: int


_LAST_RESORT = ("truetype/dejavu/DejaVuSans.ttf", "opentype/unifont/unifont.otf", "opentype/unifont/unifont_upper.otf")


def _style(name: str, font: str, size: int = 26) -> Style:
    return Style(name, (font, *_LAST_RESORT), size)


PIXEL = Style("pixel", ("opentype/unifont/unifont.otf", "opentype/unifont/unifont_upper.otf"), 28)
GOTHIC = _style("gothic", "truetype/vlgothic/VL-Gothic-Regular.ttf", 28)
NOTO_BOLD = Style(
    "noto-bold",
    (
        "opentype/noto/NotoSansCJK-Bold.ttc",
        "truetype/noto/NotoSans-Bold.ttf",
        "truetype/noto/NotoSansMath-Regular.ttf",
        "truetype/noto/NotoSansSymbols-Bold.ttf",
        "truetype/noto/NotoSansSymbols2-Regular.ttf",
        "truetype/noto/NotoSansKannada-Bold.ttf",
        "truetype/noto/NotoSansThai-Bold.ttf",
        "truetype/noto/NotoSansArabic-Bold.ttf",
        "truetype/noto/NotoSerifTibetan-Bold.ttf",
        "truetype/noto/NotoSansCanadianAboriginal-Bold.ttf",
        "truetype/dejavu/DejaVuSans-Bold.ttf",
        "opentype/unifont/unifont.otf",
        "opentype/unifont/unifont_upper.otf",
    ),
    24,
)
TRAINED_STYLES = (PIXEL, GOTHIC)
HELD_OUT_STYLES = (NOTO_BOLD,)

# What the base reads, beside the trained styles. No Noto font: that family is the held-out style.
READING_STYLES = (
    *TRAINED_STYLES,
    _style("konatu", "truetype/konatu/Konatu.ttf"),
    _style("kiloji", "truetype/kiloji/kiloji.ttf"),
    _style("kiloji-bold", "truetype/kiloji/kiloji_b.ttf"),
    _style("ume-gothic", "truetype/horai-umefont/ume-tgo5.ttf"),
    _style("ume-mincho", "truetype/horai-umefont/ume-tms3.ttf"),
    _style("ume-round", "truetype/horai-umefont/ume-hgo4.ttf"),
    _style("wqy", "truetype/wqy/wqy-microhei.ttc"),
    _style("ipa-gothic", "opentype/ipaexfont-gothic/ipaexg.ttf"),
    _style("ipa-mincho", "opentype/ipaexfont-mincho/ipaexm.ttf"),
    _style("klee", "truetype/klee/KleeOne-SemiBold.ttf"),
    _style("takao", "truetype/takao-gothic/TakaoPGothic.ttf"),
    _style("dot", "truetype/dotgothic16/DotGothic16-Regular.ttf", 28),
    _style("motoya", "truetype/motoya-l-cedar/MTLc3m.ttf"),
    _style("mona", "truetype/mona/mona.ttf"),
    _style("nanum", "truetype/nanum/NanumGothicBold.ttf"),
    Style("dejavu", ("truetype/dejavu/DejaVuSans.ttf", "truetype/vlgothic/VL-PGothic-Regular.ttf", *_LAST_RESORT), 22),
    Style(
        "dejavu-bold", ("truetype/dejavu/DejaVuSans-Bold.ttf", "truetype/nanum/NanumGothicBold.ttf", *_LAST_RESORT), 22
    ),
    Style(
        "free-serif", ("truetype/freefont/FreeSerif.ttf", "truetype/takao-mincho/TakaoPMincho.ttf", *_LAST_RESORT), 24
    ),
    Style("free-sans-bold", ("truetype/freefont/FreeSansBold.ttf", "truetype/kiloji/kiloji_b.ttf", *_LAST_RESORT), 24),
)

DEBIAN_PACKAGES = (
    "fonts-unifont fonts-vlgothic fonts-noto-core fonts-noto-cjk fonts-dejavu-core fonts-konatu fonts-kiloji "
    "fonts-horai-umefont fonts-wqy-microhei fonts-ipaexfont fonts-klee fonts-takao fonts-dotgothic16 "
    "fonts-motoya-l-cedar fonts-mona fonts-nanum fonts-freefont-ttf"
)


@cache
def _coverage(font: str) -> frozenset[int]:
    from fontTools.ttLib import TTFont

    path = FONT_ROOT / font
    if not path.exists():
        raise UserError(f"{path}: no such font. Install the fonts with: apt-get install {DEBIAN_PACKAGES}")
    return frozenset(TTFont(path, lazy=True, fontNumber=0).getBestCmap())


@cache
def _font(font: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT_ROOT / font, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def glyph(style: Style, size: int, character: str) -> Glyph:
    """The drawn character at a font size; where no font of the stack has ink for it, the last font's empty box.

    Some fonts list a character and draw nothing: they are passed over, unless the character is a space.
    """
    drawn = (_drawn(f, size, character) for f in style.fonts if ord(character) in _coverage(f))
    fallback = next((g for g in drawn if g.ink.any() or character.isspace()), None)
    return fallback or _drawn(style.fonts[-1], size, character)


def _drawn(font_name: str, size: int, character: str) -> Glyph:
    font = _font(font_name, size)
    left, top, right, bottom = (int(v) for v in font.getbbox(character, anchor="ls"))
    canvas = Image.new("L", (max(right - left, 1), max(bottom - top, 1)), 0)
    ImageDraw.Draw(canvas).text((-left, -top), character, fill=255, font=font, anchor="ls")
    combining = unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}
    return Glyph(np.asarray(canvas), left, top, 0 if combining else round(font.getlength(character)))


def fitting_size(text: str, style: Style, width: int) -> int:
    """The largest font size up to the style's own at which the text is at most `width` pixels wide."""
    size = style.size
    while size > 8 and sum(glyph(style, size, c).advance for c in text) > width:
        size -= 1
    return size


def draw(
    text: str, style: Style, *, size: int | None = None, left: int = 0, down: int = 0
) -> tuple[Pixels, list[Span]]:
    """Draw `text`, black on white, as [28, 280] pixels, and say where each character stands.

    `left` and `down` move the text by so many pixels; by default the largest fitting size is taken.
    """
    size = fitting_size(text, style, WIDTH - left) if size is None else size
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    baseline = (HEIGHT + round(0.72 * size)) // 2 + down
    pen, spans = left, []
    for character in text:
        g = glyph(style, size, character)
        x = pen + g.left - (g.ink.shape[1] if g.advance == 0 and g.left >= 0 else 0)
        _stamp(ink, g.ink, x, baseline + g.top)
        spans.append(Span(character, pen, min(pen + max(g.advance, 1), WIDTH)))
        pen += g.advance
    return 255 - ink, spans


def _stamp(canvas: Pixels, ink: Pixels, x: int, y: int) -> None:
    """Lay ink on the canvas with its upper left corner at (x, y); what falls outside is cut off."""
    rows = slice(max(y, 0), min(y + ink.shape[0], canvas.shape[0]))
    columns = slice(max(x, 0), min(x + ink.shape[1], canvas.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = ink[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    np.maximum(canvas[rows, columns], part, out=canvas[rows, columns])
