"""What the tiny backbone learns to see before it meets an emotion: lines of signs, bars, coloured shapes, plain faces.

Every drawing is synthetic and comes with words that say what was drawn; no emotion label is taught to belong to a
picture. Texts come from the training and unlabelled rows only, never from rows that are calibrated or tested on.

    python -m scripts.tiny_world.base --help
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from emocaliber.core.prompting import LEVELS
from emocaliber.core.taxonomy import KAOMOJI_10, SENTIMENT_3
from scripts.tiny_world.backbone import is_sign
from scripts.tiny_world.rendering import HEIGHT, READING_STYLES, TRAINED_STYLES, WIDTH, Span, draw, fitting_size

READ, BAR, DESCRIBE = "Read the signs.", "How full is the bar?", "Describe the drawing."
SHOWS = "What is shown?"  # what the face does, or what is with it: a greeting, a cat, food; never an emotion
WORDS = (
    *KAOMOJI_10.labels,
    *SENTIMENT_3.labels,
    "face",
    "mouth",
    "eyes",
    "hand",
    "cat",
    "dog",
    "bear",
    "star",
    "heart",
)
COLOURS = {
    "red": (220, 40, 40),
    "orange": (245, 150, 30),
    "yellow": (250, 205, 60),
    "green": (60, 170, 70),
    "blue": (60, 120, 220),
    "purple": (140, 70, 190),
    "pink": (245, 130, 180),
    "brown": (130, 80, 40),
    "grey": (150, 150, 150),
    "black": (30, 30, 30),
}
SHAPES = ("circle", "square", "triangle", "heart", "drop", "ring", "cross", "star")
EYES = ("open", "closed", "wide", "crossed", "winking")
MOUTHS = ("up", "down", "flat", "round", "open", "wavy")
SIDE = 56


@dataclass(frozen=True)
class Drawing:
    """A picture [height, width, 3], the question about it, its answer in words, and where each character stands."""

    pixels: npt.NDArray[np.uint8]
    question: str
    answer: str
    spans: tuple[Span, ...] = ()


class Artist:
    """A seeded stream of drawings over the given texts; `shows` says of some texts what they show."""

    def __init__(self, texts: list[str], seed: int, shows: dict[str, str] | None = None) -> None:
        self.texts = texts
        self.shows = shows or {}
        self.telling = [t for t in texts if self.shows.get(t)]
        self.random = random.Random(seed)
        self.noise = np.random.default_rng(seed)
        counts = Counter(c for text in texts for c in text)
        self.signs = list(counts)
        self.weights = [math.sqrt(n) for n in counts.values()]

    def wide(self) -> Drawing:
        """A 280×28 drawing: mostly signs to read, sometimes a word or a bar."""
        choice = self.random.random()
        if choice < 0.07:
            return self._bar()
        if choice < 0.14:
            word = self.random.choice(WORDS)
            return replace(self._line(word), answer=f"<answer>{word}</answer>")
        if choice < 0.34 and self.telling:
            text = self.random.choice(self.telling if self.random.random() < 0.7 else self.texts)
            return replace(self._line(text), question=SHOWS, answer=self.shows.get(text) or "nothing else")
        return self._line(self._text())

    def square(self) -> Drawing:
        """A 56×56 drawing of a face or of one or two shapes."""
        canvas = Image.new("RGB", (4 * SIDE, 4 * SIDE), "white")
        pen = ImageDraw.Draw(canvas)
        words = self._face(pen) if self.random.random() < 0.6 else self._shapes(pen)
        small = canvas.resize((SIDE, SIDE), Image.Resampling.BOX)
        return Drawing(np.asarray(small), DESCRIBE, words)

    def _text(self) -> str:
        """A text as it stands, two halves spliced together, or signs drawn at random."""
        choice = self.random.random()
        if choice < 0.7:
            return self.random.choice(self.texts)
        if choice < 0.85:
            first, second = self.random.choices(self.texts, k=2)
            return (first[: (len(first) + 1) // 2] + second[len(second) // 2 :]).strip() or first
        return "".join(self.random.choices(self.signs, self.weights, k=self.random.randint(3, 9))).strip() or "-"

    def _line(self, text: str) -> Drawing:
        if self.random.random() < 0.35:
            pixels, spans = draw(text, self.random.choice(TRAINED_STYLES))
        else:
            pixels, spans = self._jittered(text)
        hidden = self.random.choice(spans) if self.random.random() < 0.2 and len(spans) > 3 else None
        if hidden:
            pixels[:, hidden.start : hidden.end] = 255
        grey = self._worn(pixels)
        return Drawing(
            np.repeat(grey[..., None], 3, axis=2), READ, text.strip(), tuple(s for s in spans if s is not hidden)
        )

    def _jittered(self, text: str) -> tuple[npt.NDArray[np.uint8], list[Span]]:
        """In any style, a little smaller and moved about."""
        style = self.random.choice(TRAINED_STYLES if self.random.random() < 0.3 else READING_STYLES)
        size = fitting_size(text, style, WIDTH - 8)
        size -= self.random.randint(0, 4) if size > 18 else 0
        left = 0 if self.random.random() < 0.4 else self.random.randint(0, 8)
        return draw(text, style, size=size, left=left, down=self.random.randint(-1, 1))

    def _worn(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Sometimes bolder, blurred, paler, or with specks."""
        choice = self.random.random()
        image = Image.fromarray(pixels)
        if choice < 0.15:
            image = image.filter(ImageFilter.MinFilter(3))
        elif choice < 0.25:
            image = image.filter(ImageFilter.GaussianBlur(0.8))
        worn = np.asarray(image).astype(np.float64)
        if choice > 0.8:
            worn = 255 - (255 - worn) * self.random.uniform(0.5, 1.0)
        if choice > 0.93:
            worn = worn + self.noise.normal(0, 14, worn.shape)
        return (np.round(worn.clip(0, 255) / 85) * 85).astype(np.uint8)

    def _bar(self) -> Drawing:
        level = self.random.randrange(len(LEVELS))
        pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
        top, shade = self.random.randint(2, 8), self.random.choice((0, 60, 120))
        pixels[[top, -top], :] = shade
        pixels[top:-top, : round(WIDTH * LEVELS[level])] = shade
        return Drawing(pixels, BAR, f"<confidence>{LEVELS[level]:.2f}</confidence>")

    def _face(self, pen: ImageDraw.ImageDraw) -> str:
        colour = self.random.choice(("yellow", "yellow", "yellow", *COLOURS))
        eyes, mouth = self.random.choice(EYES), self.random.choice(MOUTHS)
        cheeks, tear = self.random.random() < 0.25, self.random.random() < 0.2
        x, y, r = (self.random.randint(104, 120), self.random.randint(104, 120), self.random.randint(76, 100))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=COLOURS[colour])
        ink = "white" if colour == "black" else "black"
        _draw_eyes(pen, eyes, x, y - r // 4, r, ink)
        _draw_mouth(pen, mouth, x, y + r // 2, r, ink)
        if cheeks:
            for side in (-1, 1):
                cx, cy = x + side * r * 0.65, y + r * 0.25
                pen.ellipse((cx - r * 0.15, cy - r * 0.1, cx + r * 0.15, cy + r * 0.1), fill=(240, 90, 90))
        if tear:
            cx, cy = x - r * 0.45, y + r * 0.1
            pen.ellipse((cx - r * 0.1, cy, cx + r * 0.1, cy + r * 0.35), fill=(70, 140, 240))
        extras = (" cheeks" if cheeks else "") + (" tear" if tear else "")
        return f"{colour} face eyes {eyes} mouth {mouth}{extras}"

    def _shapes(self, pen: ImageDraw.ImageDraw) -> str:
        words = []
        places = self.random.choice((((112, 112, 84),), ((62, 112, 48), (164, 112, 48))))
        for x, y, r in places:
            colour, shape = self.random.choice(list(COLOURS)), self.random.choice(SHAPES)
            _draw_shape(pen, shape, x, y, r * self.random.uniform(0.75, 1.0), COLOURS[colour])
            words.append(f"{colour} {shape}")
        return " ".join(words)


def reading_texts(rows: list[dict[str, Any]]) -> list[str]:
    """The distinct texts of the rows that may be learned from: train and unlabelled."""
    return sorted({row["text"] for row in rows if row["split"] in {"train", "unlabelled"}})


def shown_words(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What each text that may be learned from shows, where its row says so."""
    return {row["text"]: row["shows"] for row in rows if row["split"] in {"train", "unlabelled"} and row["shows"]}


def signs_of(texts: list[str]) -> list[str]:
    """The characters that get a token of their own, most frequent first: those in at least two texts."""
    counts = Counter(c for text in texts for c in set(text))
    return [c for c, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= 2 and is_sign(c)]


def _draw_eyes(pen: ImageDraw.ImageDraw, eyes: str, x: float, y: float, r: float, ink: str) -> None:
    for side in (-1, 1):
        cx, s = x + side * r * 0.38, r * 0.13
        if eyes == "closed" or (eyes == "winking" and side == 1):
            pen.arc((cx - 1.5 * s, y - s, cx + 1.5 * s, y + 1.5 * s), 180, 360, fill=ink, width=7)
        elif eyes == "crossed":
            pen.line((cx - s, y - s, cx + s, y + s), fill=ink, width=7)
            pen.line((cx - s, y + s, cx + s, y - s), fill=ink, width=7)
        elif eyes == "wide":
            pen.ellipse((cx - 1.8 * s, y - 1.8 * s, cx + 1.8 * s, y + 1.8 * s), fill="white", outline=ink, width=4)
            pen.ellipse((cx - 0.7 * s, y - 0.7 * s, cx + 0.7 * s, y + 0.7 * s), fill=ink)
        else:
            pen.ellipse((cx - s, y - 1.3 * s, cx + s, y + 1.3 * s), fill=ink)


def _draw_mouth(pen: ImageDraw.ImageDraw, mouth: str, x: float, y: float, r: float, ink: str) -> None:
    w, h = r * 0.45, r * 0.3
    if mouth == "up":
        pen.arc((x - w, y - 2 * h, x + w, y + h * 0.6), 20, 160, fill=ink, width=8)
    elif mouth == "down":
        pen.arc((x - w, y - h * 0.4, x + w, y + 2 * h), 200, 340, fill=ink, width=8)
    elif mouth == "flat":
        pen.line((x - w, y, x + w, y), fill=ink, width=8)
    elif mouth == "round":
        pen.ellipse((x - h * 0.7, y - h * 0.8, x + h * 0.7, y + h * 0.8), fill=ink)
    elif mouth == "open":
        pen.chord((x - w, y - 1.3 * h, x + w, y + h), 0, 180, fill=ink)
    else:
        points = [(x - w + i * w / 4, y + (h * 0.35 if i % 2 else -h * 0.35)) for i in range(9)]
        pen.line(points, fill=ink, width=8)


def _draw_shape(
    pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, r: float, colour: tuple[int, int, int]
) -> None:
    box = (x - r, y - r, x + r, y + r)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "ring":
        pen.ellipse(box, outline=colour, width=round(r * 0.35))
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    elif shape == "triangle":
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=colour)
    elif shape == "cross":
        pen.line((x - r, y - r, x + r, y + r), fill=colour, width=round(r * 0.4))
        pen.line((x - r, y + r, x + r, y - r), fill=colour, width=round(r * 0.4))
    elif shape == "star":
        turns = [(i * math.pi / 5 - math.pi / 2, r if i % 2 == 0 else r * 0.42) for i in range(10)]
        pen.polygon([(x + d * math.cos(a), y + d * math.sin(a)) for a, d in turns], fill=colour)
    elif shape == "heart":
        pen.ellipse((x - r, y - r * 0.8, x, y + r * 0.2), fill=colour)
        pen.ellipse((x, y - r * 0.8, x + r, y + r * 0.2), fill=colour)
        pen.polygon([(x - r * 0.95, y), (x + r * 0.95, y), (x, y + r)], fill=colour)
    else:
        pen.ellipse((x - r * 0.6, y - r * 0.2, x + r * 0.6, y + r), fill=colour)
        pen.polygon([(x - r * 0.55, y + r * 0.2), (x + r * 0.55, y + r * 0.2), (x, y - r)], fill=colour)
