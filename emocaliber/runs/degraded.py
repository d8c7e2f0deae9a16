"""Stage 2 by evidence: how far an answer survives when its picture is made worse.

Not the confidence of drawn answers (see asking.agreement): here nothing is drawn, the picture changes. It follows the
idea of CSP (arXiv 2504.14848), which spoils the object that a question is about and maps the strength to the confidence
to state; here the whole picture is spoilt in several ways, and the answers are counted (a reconstruction).

    emocaliber train recipes/tiny/2-verbalize.yaml target=degraded --adapter out/1-label/adapter --out out/2-degraded
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from emocaliber.core.samples import Sample
from emocaliber.data.corruption import IMAGE_CORRUPTIONS, corrupted_sample

Floats = npt.NDArray[np.float64]
Ask = Callable[[Sequence[Sample]], list[Floats]]
"""From samples to a distribution over the candidates of each."""

STRENGTHS = (0.1, 0.2, 0.4)
COPIES = len(STRENGTHS) * len(IMAGE_CORRUPTIONS)
CHUNK = 512  # pictures whose copies are held at a time


def survival(samples: Sequence[Sample], ask: Ask) -> tuple[list[Floats], list[Floats]]:
    """What `ask` believes of each sample, and which share of its COPIES has each candidate as the likeliest answer.

    The copies carry noise, an occluding square or a blur, each at every one of STRENGTHS (see
    `datasets.corruption.corrupted_image`), seeded by the sample's id.
    """
    counts = [np.zeros(len(sample.candidates)) for sample in samples]
    for start in range(0, len(samples), CHUNK):
        part = samples[start : start + CHUNK]
        for kind in IMAGE_CORRUPTIONS:
            for strength in STRENGTHS:
                spoilt = ask([corrupted_sample(sample, kind, strength) for sample in part])
                for count, belief in zip(counts[start : start + CHUNK], spoilt, strict=True):
                    count[belief.argmax()] += 1
    return ask(samples), [count / COPIES for count in counts]
