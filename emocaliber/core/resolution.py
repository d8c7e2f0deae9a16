"""Resolution: how many pixels of a picture a model is shown. The one limit, in pixels, for training and for asking.

Not a model's own preprocessing: the processor in a model's folder, the same one in training and generation, still cuts
the picture into its patches, and may show less. A limit that every engine keeps, servers included, since it is applied
before an engine sees the picture; it also bounds the memory of pictures that wait for one.

    python -c "from PIL import Image; from emocaliber.core.resolution import *; print(shown(Image.new('L', (40, 30))))"
"""

from __future__ import annotations

from math import sqrt

from PIL import Image

SHOWN_PIXELS = 576 * 28 * 28
"""The default: EmoCaliber's MAX_PIXELS in training (arXiv 2512.15528, train/step1_example.sh), 576 patches of 28 by 28,
451,584. A recipe's `max_pixels` takes its place, and what a model was trained with goes with it in emocaliber.json."""


def shown(image: Image.Image, max_pixels: int = SHOWN_PIXELS) -> Image.Image:
    """The picture, made smaller in proportion where it has more than `max_pixels`; else the very same one."""
    width, height = image.size
    if width * height <= max_pixels:
        return image
    scale = sqrt(max_pixels / (width * height))
    smaller = (max(1, int(width * scale)), max(1, int(height * scale)))
    return image.resize(smaller, Image.Resampling.BICUBIC, reducing_gap=2.0)
