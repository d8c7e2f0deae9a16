"""Labels: which candidate a short text names, by whole words after Unicode and case folding, the longest first.

Not a search through reasoning: the caller hands over the final answer. `anger` is not in "danger" nor in
"non-anger"; two labels named are ambiguous, not the first; so is a negated one ("not joy"). Inflections count only
where a taxonomy lists them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

from emocaliber.core.predictions import State

LONGEST_ANSWER = 2000
"""A longer text is no label; the bound also keeps Unicode normalisation, quadratic in runs of marks, from mattering."""

_NEGATION = re.compile(r"\b(?:not|no|never|neither|nor|without|cannot|rather than|instead of)\b|n['’]t\b")
_GAP = re.compile(r"[\s_\-]+")
_WORD_START = r"(?<![^\W_])(?<!-)"
_WORD_END = r"(?![^\W_]|-[^\W_]|[\u0300-\u036f])"


class LabelNames:
    """The names of a question's candidates, declared synonyms included."""

    def __init__(self, candidates: tuple[str, ...], synonyms: Iterable[tuple[str, str]] = ()) -> None:
        self._labels: dict[str, set[str]] = {}
        for name, label in [*((label, label) for label in candidates), *synonyms]:
            if label in candidates and (folded := _fold(name)):
                self._labels.setdefault(folded, set()).add(label)
        longest_first = sorted(self._labels, key=lambda name: (-len(name), name))
        names = "|".join(_pattern(name) for name in longest_first)
        self._pattern = re.compile(f"{_WORD_START}(?:{names}){_WORD_END}" if names else r"(?!)")

    def read(self, text: str) -> str | State:
        """The one candidate that the text names; else MISSING_LABEL, UNKNOWN_LABEL or AMBIGUOUS_LABEL."""
        if len(text) > LONGEST_ANSWER:
            return State.UNKNOWN_LABEL
        folded = _normal(text)
        named: set[str] = set()
        for hit in self._pattern.finditer(folded):
            named |= self._labels[_GAP.sub(" ", hit[0])]
        if not named:
            return State.UNKNOWN_LABEL if any(map(str.isalnum, folded)) else State.MISSING_LABEL
        if len(named) > 1 or _NEGATION.search(self._pattern.sub(" ", folded)):
            return State.AMBIGUOUS_LABEL
        return named.pop()

    def is_name(self, text: str) -> bool:
        """Whether the text is a candidate's name and nothing else but punctuation around it."""
        return len(text) <= LONGEST_ANSWER and _fold(text.strip(" \t\r\n.!\"'()[]{}*`_:-")) in self._labels


@lru_cache(maxsize=256)
def label_names(candidates: tuple[str, ...], synonyms: tuple[tuple[str, str], ...] = ()) -> LabelNames:
    """`LabelNames`, compiled once for each set of candidates."""
    return LabelNames(candidates, synonyms)


def hashable(synonyms: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """A taxonomy's synonyms as `label_names` takes them."""
    return tuple(sorted((synonyms or {}).items()))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _fold(text: str) -> str:
    return _GAP.sub(" ", _normal(text)).strip()


def _pattern(folded: str) -> str:
    return r"[\s_\-]+".join(re.escape(word) for word in folded.split(" "))
