"""Taxonomies: ordered lists of emotion labels, each with its polarity.

Not a place for data: the candidates that come with a sample always win over a taxonomy.

    python -c "from emocaliber.taxonomy import SENTIMENT_3; print(SENTIMENT_3.labels)"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Polarity = Literal["negative", "neutral", "positive"]


@dataclass(frozen=True)
class Taxonomy:
    """An ordered list of emotion labels.

    `polarity` maps each label to negative, neutral or positive; `synonyms` maps a declared synonym or inflection to its
    label.
    Raises ValueError where a label is repeated, has no polarity, or a synonym names no label.
    """

    name: str
    labels: tuple[str, ...]
    polarity: dict[str, Polarity]
    synonyms: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"taxonomy {self.name}: a label is listed twice in {self.labels}")
        if set(self.polarity) != set(self.labels):
            raise ValueError(f"taxonomy {self.name}: polarity must name exactly the labels {self.labels}")
        if unknown := set(self.synonyms.values()) - set(self.labels):
            raise ValueError(f"taxonomy {self.name}: synonyms point to unknown labels {sorted(unknown)}")


SENTIMENT_3 = Taxonomy(
    "sentiment-3",
    ("negative", "neutral", "positive"),
    {"negative": "negative", "neutral": "neutral", "positive": "positive"},
)

KAOMOJI_10 = Taxonomy(
    "kaomoji-10",
    ("happy", "cute", "love", "cool", "surprised", "doubt", "shy", "sleepy", "sad", "angry"),
    {
        "happy": "positive",
        "cute": "positive",
        "love": "positive",
        "cool": "positive",
        "surprised": "neutral",
        "doubt": "neutral",
        "shy": "neutral",
        "sleepy": "neutral",
        "sad": "negative",
        "angry": "negative",
    },
)
