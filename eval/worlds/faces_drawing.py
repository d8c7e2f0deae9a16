"""Draw a schematic face of 56 × 56 pixels from its expressive features, with random nuisance variation.

The features come from `faces`. Tilt, size, position and colour are independent of the label.

    python -m eval.worlds.faces --out out/faces.parquet
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

SIDE = 56
_SCALE = 4
FEATURES = ("brow slant", "brow height", "eye opening", "mouth curve", "mouth opening")
"""Each in [-1, 1]. Slant: -1 is the angry V, 1 the worried roof. Curve: 1 is a smile."""

Part = Literal["upper", "lower"]
PARTS: dict[Part, tuple[str, ...]] = {"upper": FEATURES[:3], "lower": FEATURES[3:]}
"""What a cover hides."""

Style = Literal["round", "angular"]

_SKINS = ((250, 205, 60), (245, 190, 140), (200, 225, 170), (190, 210, 245), (235, 200, 230))


@dataclass(frozen=True)
class Look:
    """What is to be drawn: the features [5], a covered part, and the dials that do not depend on the label."""

    features: tuple[float, ...]
    covered: Part | None = None
    style: Style = "round"
    clutter: int = 0
    noise: float = 0.0


def draw_face(look: Look, random: np.random.Generator) -> bytes:
    """The face as PNG bytes; `random` chooses skin, size, place, tilt, clutter and noise."""
    side = SIDE * _SCALE
    canvas = Image.new("RGB", (side, side), "white")
    _clutter(ImageDraw.Draw(canvas), look.clutter, side, random)
    face = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    radius = side * random.uniform(0.38, 0.44)
    x, y = (side / 2 + random.uniform(-0.04, 0.04) * side for _ in range(2))
    _face(ImageDraw.Draw(face), look, x, y, radius, _SKINS[random.integers(len(_SKINS))])
    tilted = face.rotate(random.uniform(-6, 6), resample=Image.Resampling.BILINEAR, center=(x, y))
    canvas.paste(tilted, (0, 0), tilted)
    pixels = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX)).astype(np.float64)
    pixels += random.normal(0, look.noise, pixels.shape) if look.noise else 0.0
    written = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(written, "PNG")
    return written.getvalue()


def _clutter(pen: ImageDraw.ImageDraw, strokes: int, side: int, random: np.random.Generator) -> None:
    for _ in range(strokes):
        ends = [float(corner) for corner in random.uniform(0, side, 4)]
        pen.line(
            ends, fill=tuple(int(shade) for shade in random.integers(60, 220, 3)), width=int(random.integers(3, 9))
        )


def _face(pen: ImageDraw.ImageDraw, look: Look, x: float, y: float, r: float, skin: tuple[int, int, int]) -> None:
    angular = look.style == "angular"
    head = (x - r, y - r, x + r, y + r)
    if angular:
        pen.rounded_rectangle(head, radius=r * 0.25, fill=skin, outline="black", width=4)
    else:
        pen.ellipse(head, fill=skin)
    slant, height, opening, curve, mouth = look.features
    for side in (-1, 1):
        _eye(pen, x + side * r * 0.38, y - r * 0.12, r, opening, angular)
        _brow(pen, x + side * r * 0.38, y - r * (0.5 + 0.14 * height), r, side * slant, angular)
    _mouth(pen, x, y + r * 0.48, r, curve, mouth, angular)
    if look.covered == "upper":
        pen.rectangle((x - r * 1.05, y - r * 0.85, x + r * 1.05, y + r * 0.11), fill=(150, 150, 150))
    elif look.covered == "lower":
        pen.rectangle((x - r * 0.8, y + r * 0.11, x + r * 0.8, y + r * 0.95), fill=(150, 150, 150))


def _eye(pen: ImageDraw.ImageDraw, x: float, y: float, r: float, opening: float, angular: bool) -> None:
    w, h = r * 0.15, r * (0.03 + 0.095 * (opening + 1))
    box = (x - w, y - h, x + w, y + h)
    if angular:
        pen.rectangle(box, fill="black")
    else:
        pen.ellipse(box, fill="black")


def _brow(pen: ImageDraw.ImageDraw, x: float, y: float, r: float, slant: float, angular: bool) -> None:
    w, rise = r * 0.22, r * 0.15 * slant
    pen.line((x - w, y - rise, x + w, y + rise), fill="black", width=round(r * (0.11 if angular else 0.08)))


def _mouth(pen: ImageDraw.ImageDraw, x: float, y: float, r: float, curve: float, opening: float, angular: bool) -> None:
    w, bend, gap = r * 0.45, r * 0.24 * curve, r * (0.02 + 0.1 * (opening + 1))
    places = np.linspace(-1, 1, 5 if angular else 25)
    bow = [(x + w * place, y + bend * (0.5 - place**2)) for place in places.tolist()]
    swell = [gap * (1 - place**2) for place in places.tolist()]
    upper = [(px, py - s) for (px, py), s in zip(bow, swell, strict=True)]
    lower = [(px, py + s) for (px, py), s in zip(bow, swell, strict=True)]
    pen.polygon(upper + lower[::-1], fill=(150, 30, 40), outline="black", width=round(r * 0.05))
