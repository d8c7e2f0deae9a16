"""Taxonomies: ordered lists of emotion labels, each with its polarity.

A sample's own candidates always take precedence over a taxonomy.

    python -c "from emocaliber.core.taxonomy import SENTIMENT_3; print(SENTIMENT_3.labels)"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from emocaliber.core.errors import UserError, did_you_mean

Polarity = Literal["negative", "neutral", "positive"]


@dataclass(frozen=True)
class Taxonomy:
    """An ordered list of emotion labels.

    `polarity` maps each label to negative, neutral or positive; `synonyms` maps a declared synonym or inflection to its
    label. Raises ValueError if a label is repeated or has no polarity, or if a synonym maps to an unknown label.
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


SENTIMENT_2 = Taxonomy(
    "sentiment-2",
    ("negative", "positive"),
    {"negative": "negative", "positive": "positive"},
    {"neg": "negative", "pos": "positive"},
)

_FORMS = {
    "anger": "angry", "disgust": "disgusted", "fear": "fearful afraid scared frightened", "sadness": "sad",
    "surprise": "surprised", "contempt": "contemptuous", "happiness": "happy", "joy": "joyful", "amusement": "amused",
    "awe": "awed", "contentment": "content contented", "excitement": "excited",
}  # fmt: skip
"""The adjectives of each emotion noun."""


def _adjectives(*labels: str) -> dict[str, str]:
    return {adjective: label for label in labels for adjective in _FORMS[label].split()}


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


def _by_polarity(positive: str, neutral: str, negative: str) -> dict[str, Polarity]:
    """The polarity of each word in three space-separated lists."""
    lists: tuple[tuple[Polarity, str], ...] = (("positive", positive), ("neutral", neutral), ("negative", negative))
    return {label: polarity for polarity, labels in lists for label in labels.split()}


MIKELS_8 = Taxonomy(
    "mikels-8",
    ("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness"),
    _by_polarity("amusement awe contentment excitement", "", "anger disgust fear sadness"),
    _adjectives("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness"),
)
"""Mikels et al. 2005: FI, EmoSet, Abstract, ArtPhoto, MultiEmo-Bench. Abstract's file uses Content and Sad."""

EKMAN_6 = Taxonomy(
    "ekman-6",
    ("anger", "disgust", "fear", "joy", "sadness", "surprise"),
    _by_polarity("joy", "surprise", "anger disgust fear sadness"),
    _adjectives("anger", "disgust", "fear", "joy", "sadness", "surprise") | {"happiness": "joy", "happy": "joy"},
)
"""Ekman's basic emotions. Surprise has no polarity of its own; it is neutral here by our choice."""

FERPLUS_8 = Taxonomy(
    "ferplus-8",
    ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    _by_polarity("happiness", "neutral surprise", "sadness anger disgust fear contempt"),
    _adjectives("happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt") | {"joy": "happiness"},
)
"""FER+ (Barsoum et al. 2016), in its file's order."""

FER2013_7 = Taxonomy(
    "fer2013-7",
    ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    _by_polarity("happy", "surprise neutral", "angry disgust fear sad"),
    {"anger": "angry", "happiness": "happy", "sadness": "sad"},
)
"""FER-2013 (Goodfellow et al. 2013), in the order of its class numbers."""

EMOTION6_7 = Taxonomy(
    "emotion6-7",
    ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"),
    _by_polarity("joy", "surprise neutral", "anger disgust fear sadness"),
)
"""Emotion6 (Peng et al. 2015), in its file's order: Ekman's six and neutral."""

PLUTCHIK_8 = Taxonomy(
    "plutchik-8",
    ("anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust"),
    _by_polarity("anticipation joy trust", "surprise", "anger disgust fear sadness"),
    _adjectives("anger", "disgust", "fear", "joy", "sadness", "surprise") | {"happiness": "joy", "happy": "joy"},
)

UNBIASEDEMO_6 = Taxonomy(
    "unbiasedemo-6",
    ("anger", "fear", "joy", "love", "sadness", "surprise"),
    _by_polarity("joy love", "surprise", "anger fear sadness"),
    _adjectives("anger", "fear", "joy", "sadness", "surprise") | {"happiness": "joy", "happy": "joy"},
)
"""UnBiasedEmo (Panda et al. 2018)."""

WEBEMO_25 = Taxonomy(
    "webemo-25",
    (
        "sadness", "zest", "disappointment", "pride", "disgust", "cheerfulness", "confusion", "rage", "gratitude",
        "nervousness", "affection", "envy", "optimism", "surprise", "contentment", "enthrallment", "suffering", "lust",
        "exasperation", "shame", "horror", "neglect", "sympathy", "irritability", "relief",
    ),
    _by_polarity(
        "zest pride cheerfulness gratitude affection optimism contentment enthrallment lust relief",
        "confusion surprise sympathy",
        "sadness disappointment disgust rage nervousness envy suffering exasperation shame horror neglect irritability",
    ),
    {"cheerfullness": "cheerfulness", "irritabilty": "irritability"},
)  # fmt: skip
"""WEBEmo (Panda et al. 2018), in VECBench's order. The synonyms are its published misspellings; the polarities are our
own judgement, because the paper's assignment was not available."""

TAXONOMIES = {
    taxonomy.name: taxonomy
    for taxonomy in (
        SENTIMENT_2, SENTIMENT_3, EKMAN_6, EMOTION6_7, FER2013_7, FERPLUS_8, MIKELS_8, PLUTCHIK_8, UNBIASEDEMO_6,
        WEBEMO_25, KAOMOJI_10,
    )
}  # fmt: skip
"""The built-in taxonomies, by name."""


def labels_of(stated: str | Sequence[str] | None) -> tuple[str, ...]:
    """The labels given by a taxonomy's name or a list; () for None. Raises UserError for an unknown name, and for a
    list with fewer than two labels or a repeated one."""
    if stated is None:
        return ()
    if isinstance(stated, str) and stated not in TAXONOMIES:
        raise UserError(
            f"labels: {stated!r} is not a taxonomy{did_you_mean(stated, TAXONOMIES)}; give a list of labels, or one of"
            f" {', '.join(TAXONOMIES)}"
        )
    labels = TAXONOMIES[stated].labels if isinstance(stated, str) else tuple(stated)
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(isinstance(name, str) for name in labels):
        raise UserError(f"labels: {list(labels)} must be two or more names, each once")
    return labels


_FAMILIES = (
    "anger angry", "disgust disgusted", "fear fearful afraid scared frightened", "sadness sad",
    "happiness happy joy joyful", "surprise surprised", "contempt contemptuous", "amusement amused", "awe awed",
    "excitement excited",
)  # fmt: skip
"""Groups of words for the same emotion. "content" is left to the taxonomies that declare it: elsewhere it mostly means
something else."""


ENGLISH = {word for family in _FAMILIES for word in family.split()} | {
    label for taxonomy in TAXONOMIES.values() for label in taxonomy.labels
}
"""English words for emotions."""
_MORE_WORDS = {
    "anger": "furious fury enraged rage outraged irate irritated",
    "disgust": "revolted revulsion repulsed repulsion",
    "fear": "terrified terror frightened petrified horrified horror",
    "sadness": "sorrow sorrowful grief grieving mournful melancholy gloomy dejected miserable heartbroken depressed",
    "happiness": "cheerful cheerfulness delighted delight joyous gleeful elated glad ecstatic",
    "surprise": "astonished astonishment startled shocked",
    "contempt": "scornful scorn disdain disdainful",
    "neutral": "expressionless impassive emotionless",
}
"""Less common words for an emotion."""
_INFLECTIONS = (
    "admiration admiring", "affection affectionate", "amusement amused", "anger angry angered",
    "annoyance annoyed", "anticipation anticipating", "anxiety anxious",
    "approval approving", "awe awed awestruck awe-struck awe-inspired awe-inspiring", "boredom bored",
    "calmness calm", "confusion confused", "contempt contemptuous", "contentment contented",
    "curiosity curious", "desire desirous", "disappointment disappointed",
    "disapproval disapproving", "disgust disgusted", "embarrassment embarrassed",
    "enthusiasm enthusiastic", "envy envious", "excitement excited", "fatigue fatigued",
    "fear fearful fearfulness", "frustration frustrated", "gratitude grateful gratefulness",
    "grief grieving grieved", "guilt guilty", "happiness happy", "hope hopeful hopefulness",
    "horror horrified", "interest interested", "jealousy jealous", "joy joyful joyous joyfulness",
    "loneliness lonely", "love loving", "nervousness nervous", "neutral neutrality", "optimism optimistic",
    "pride proud", "rage enraged", "realization realizing", "relief relieved", "remorse remorseful",
    "sadness sad saddened saddens", "serenity serene", "shame ashamed",
    "surprise surprised", "sympathy sympathetic", "trust trusting",
)  # fmt: skip
"""Groups of words of one root: a word stands for the group's only candidate."""


def synonyms_of(candidates: Sequence[str]) -> dict[str, str]:
    """Synonyms of the candidates, mapped to the candidate.

    They are the declared synonyms of the taxonomies with exactly these labels, and the other words of an emotion that
    exactly one candidate names ("angry" for anger). If fewer than three candidates name an emotion, the list is not
    taken for a list of emotions and gets none of the latter.
    """
    declared = [taxonomy.synonyms for taxonomy in TAXONOMIES.values() if set(taxonomy.labels) == set(candidates)]
    folded = {candidate.casefold(): candidate for candidate in candidates}
    families = [family.split() for family in _FAMILIES]
    named = [(words, [word for word in words if word in folded]) for words in families]
    single = [(words, own[0]) for words, own in named if len(own) == 1]
    synonyms = {word: folded[own] for words, own in single for word in words if word != own} if len(single) > 2 else {}
    return synonyms | {word: label for table in declared for word, label in table.items()}


def more_synonyms_of(candidates: Sequence[str]) -> dict[str, str]:
    """`synonyms_of`, plus inflections ("grateful" for gratitude) and less common words for an emotion that exactly one
    candidate names ("furious" for anger); a word of a candidate's own root names that candidate."""
    usual = synonyms_of(candidates)
    folded = {candidate.casefold(): candidate for candidate in candidates}
    more: dict[str, str] = {}
    for emotion, words in _MORE_WORDS.items():
        family = next((family.split() for family in _FAMILIES if family.startswith(emotion)), [emotion])
        own = {folded[word] for word in family if word in folded}
        if len(own) == 1 and (usual or len(candidates) > 2):
            more |= {word: next(iter(own)) for word in words.split() if word not in folded}
    groups = [group.split() for group in _INFLECTIONS]
    rooted = [(group, [word for word in group if word in folded]) for group in groups]
    inflected = {word: folded[own[0]] for group, own in rooted if len(own) == 1 for word in group if word != own[0]}
    return more | usual | (inflected if len(candidates) > 2 or usual else {})
