"""Matching labels: which candidate a short text names, by whole words after Unicode and case folding, longest first.

`anger` does not match in "danger" or "non-anger". A negated name ("not joy", "joy is ruled out") does not count. Of
several names, the one called the main one counts, or the first if the others are called lesser ("joy with some awe");
otherwise two different labels are ambiguous. Other words for an emotion ("angry", "scared") count if a taxonomy lists
them, or if exactly one candidate is for that emotion (`core.taxonomy.synonyms_of`).

An option's letter ("B", "(b)", "B) some other words") stands for its position in the list. It counts if the candidates
or the response show the letters, or if it could not be an abbreviation of another candidate.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from emocaliber.core.predictions import State
from emocaliber.core.taxonomy import ENGLISH, more_synonyms_of, synonyms_of

LONGEST_ANSWER = 2000
"""A longer text is not a label. The bound also limits Unicode normalisation, which is quadratic in runs of marks."""

_ARTICLE = re.compile(r"\s(?:an?|the)\s")
_GAP = re.compile(r"[\s_\-]+")
_LETTERS = r"[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]"
"""Letters of scripts that separate words by spaces (unlike Chinese and Japanese) and attach no particles (unlike
Korean)."""
_WORD_START = rf"(?<!{_LETTERS})(?<!-)"
_WORD_END = rf"(?!{_LETTERS}|-[^\W_]|[\u0300-\u036f])"
_IDIOM = re.compile(
    r"\b(?:no|without(?: an?y?)?|beyond(?: an?y?)?) (?:doubt|question)\b|\bnone other than\b|\bnothing (?:else )?but\b"
    r"|\bnot (?:only|just)\b|\bno (?=\W)|\bnever mind\b"
)
_DENIED = re.compile(
    r"\b(?:not|no|never|neither|nor|without|cannot|rather than|instead of|all but"
    r"|(?:any|every)thing (?:but|except)|as opposed to|far from|opposite of(?!.*\bis\b)|other than"
    r"|except|excluding|excludes?|hardly|barely|scarcely|lack of|lacks|absence of|rules? out|ruled out|unlike|nothing"
    r"|isnt|cant|doesnt|wasnt|unlikely|nicht|keine?[nrms]?|weder|ohne|pas|aucune?|sans|ningun[ao]?|ninguna?|sin|nem"
    r"|geen|niet|non|não|не|нет|без)\b|n['’]t\b|\bno\b|[不没沒非无無未别]"
)
_DENIED_AFTER = re.compile(
    r"\s{1,2}(?:(?:is|was|does|do|are|seems|appears|can be|could be|would be|has been)\s?)?"
    r"(?:(?:not|never|absent|unlikely|excluded|ruled out|wrong|incorrect|rejected|missing|out of the question)\b"
    r"|n['’]t)"
    r"|\s?\?\s?no\b|\s?:\s?no\b|(?:では|じゃ)(?:な|あり)"
)
_CLAUSE = re.compile(
    r"[.;!?()\[\]\n,。、；，？！]|:(?=\s(?:it|this|the|i|he|she)\b)"
    r"|(?<!thing )(?<!all )\b(?:but|yet|though|although|however|sondern|mais|sino|но|а)\b|而是"
)
_REASON = re.compile(r"\b(?:because|since|due to|as (?:the|there|it|she|he|they|both|well as)|given|based on)\b")
_FIRST = re.compile(
    r"\b(?:primary|primarily|main|mainly|mostly|dominant|predominant|predominantly|chiefly|most likely|best)"
    r"(?: (?:emotion|feeling|label|one|choice))?(?: is)?\W{0,3}$"
)
_FIRST_AFTER = re.compile(r"\W{0,3}(?:is (?:the )?)?(?:primary|main|dominant|predominant|most likely|best)\b")
_LESS = re.compile(
    r"\b(?:than|over|secondary|runner-?up|followed by|tinged with|second|secondarily|less likely"
    r"|with (?:some|a (?:hint|touch|trace|bit|little|slight)|hints|traces|elements|undertones|slight|mild)(?: of)?"
    r"(?: \w+)?)\W{0,3}$"
)
_NEW_CLAUSE = re.compile(r"\s(?:so|i|it|this|the|instead|rather)\b")
_NO_EMOTION = re.compile(
    r"\bi(?:['’]m| am) afraid\b(?! of)"
    r"|\b(?:happy|glad) to (?:help|assist|answer|analy[sz]e|describe|take a look|do so)\b"
    r"|\bamusement (?:park|arcade|ride)s?\b|\bsurprise part(?:y|ies)\b"
)
"""Idioms and compounds that contain an emotion word but do not refer to an emotion."""
_MOST_OPTIONS, _LONG_NAME = 5, 6
_LETTER = re.compile(
    r"\W{0,4}(?i:option|choice|answer|letter)?\W{0,4}(?P<letter>[A-Z]|(?<=\()[a-z](?=\))|[a-z](?=\)))\W{0,4}"
)
_LETTER_FIRST = re.compile(r"\W{0,4}(?:[Oo]ption |[Aa]nswer )?\(?(?P<letter>[A-Z])(?:[).:]\s|,?\s(?:because|since)\b)")
_LETTERED = re.compile(r"\s{0,3}\(?(?P<letter>[A-Za-z]|[0-9]{1,2})[).:]\s{0,3}(?P<rest>\S.{0,200})")


_OTHER_WORDS = frozenset(("abused", "sacred", "scarred", "shared", "stared", "started", "exited", "revolved"))
"""Words that differ in one letter from a name, and are not misspellings of it."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A candidate's name in a folded text: its offsets, the candidates that it may refer to, and whether its clause
    negates it or calls it lesser ("with a hint of")."""

    start: int
    end: int
    labels: tuple[str, ...]
    denied: bool
    lesser: bool


class LabelNames:
    """The names of a question's candidates, including declared synonyms and the candidates' own letters."""

    def __init__(self, candidates: tuple[str, ...], synonyms: Iterable[tuple[str, str]] = ()) -> None:
        self._labels: dict[str, set[str]] = {}
        self._candidates = candidates
        self.are_english = 2 * sum(label.casefold() in ENGLISH for label in candidates) >= len(candidates)
        own = [_LETTERED.fullmatch(candidate) for candidate in candidates]
        letters = [letter["letter"].casefold() for letter in own if letter]
        self.own_letters: dict[str, str] = {}
        if candidates and len(set(letters)) == len(candidates):
            self.own_letters = dict(zip(letters, candidates, strict=True))
            synonyms = [*synonyms, *((letter["rest"], letter[0]) for letter in own if letter)]
        for name, label in [*((label, label) for label in candidates), *synonyms]:
            if label in candidates and (folded := _fold(name)):
                self._labels.setdefault(folded, set()).add(label)
        longest_first = sorted(self._labels, key=lambda name: (-len(name), name))
        names = "|".join(_pattern(name) for name in longest_first)
        self._pattern = re.compile(f"{_WORD_START}(?:{names}){_WORD_END}" if names else r"(?!)")
        self._shown = (
            re.compile(rf"(?<![^\W_])(?P<letter>[a-z])\s?[).:]\s{{0,3}}(?P<name>{names}){_WORD_END}") if names else None
        )

    def read(self, text: str, response: str = "") -> str | State:
        """The candidate that the text names; else MISSING_LABEL, UNKNOWN_LABEL or AMBIGUOUS_LABEL.

        `response` is the full text, which may show the letters of options.
        """
        if len(text) > LONGEST_ANSWER:
            return State.UNKNOWN_LABEL
        folded = _normal(text)
        hits = list(self._pattern.finditer(folded))
        if not hits:
            letter = self._by_letter(text, response, folded)
            return self._misspelt(folded) or letter if letter is State.UNKNOWN_LABEL else letter
        reason = _REASON.search(folded, hits[0].end())
        hits = [hit for hit in hits if not reason or hit.start() < reason.start()]
        return self._main([hit for hit in hits if not _is_denied(folded, hit)], folded)

    def _misspelt(self, folded: str) -> str | None:
        """The only candidate whose name differs from the text in one letter; None if there is not exactly one."""
        word = folded.strip(" \t\r\n.!\"'()[]{}*`_:-,;")
        near = [labels for name, labels in self._labels.items() if _is_misspelt(word, name)]
        named = set().union(*near) if near and word.isalpha() else set()
        return named.pop() if len(named) == 1 else None

    def is_name(self, text: str) -> bool:
        """Whether the text is just a candidate's name, apart from punctuation around it."""
        return len(text) <= LONGEST_ANSWER and _fold(text.strip(" \t\r\n.!\"'()[]{}*`_:-→“”‘’#>•,;")) in self._labels

    def is_own_letter(self, text: str) -> bool:
        """Whether the text is just a candidate's own letter."""
        return text.strip(" \t\r\n.()[]*").casefold() in self.own_letters

    def are_in(self, text: str) -> bool:
        """Whether a text of any length contains a name."""
        return self._pattern.search(_normal(text)) is not None

    def named(self, text: str) -> set[str]:
        """All candidates whose names the text contains, negated or not."""
        return {label for hit in self._pattern.finditer(_normal(text[:LONGEST_ANSWER])) for label in self._of(hit)}

    def without_names(self, text: str) -> str:
        """The folded text with each name replaced by "answer"."""
        return self._pattern.sub("answer", _normal(text[:LONGEST_ANSWER]))

    def without_denied(self, text: str) -> str:
        """The folded text without clauses that negate a name, and without idioms such as "no doubt"."""
        folded = _IDIOM.sub(" ", _normal(text[:LONGEST_ANSWER]))
        parts, at = [], 0
        for hit in self._pattern.finditer(folded):
            span = _denial(folded, hit)
            if span is not None:
                parts.append(folded[at : max(at, span[0])])
                at = span[1]
        return "".join([*parts, folded[at:]])

    def mentions(self, text: str) -> tuple[str, list[Mention]]:
        """The folded text, and its mentions of candidates."""
        folded = _normal(text)
        hits = self._pattern.finditer(folded)
        return folded, [
            Mention(*hit.span(), tuple(self._of(hit)), _is_denied(folded, hit), _is_lesser(folded, hit)) for hit in hits
        ]

    def _of(self, hit: re.Match[str]) -> set[str]:
        name = _GAP.sub(" ", hit[0])
        return self._labels.get(name) or self._labels.get(_ARTICLE.sub(" ", name), set())

    def _main(self, hits: list[re.Match[str]], folded: str) -> str | State:
        named: set[str] = set().union(*(self._of(hit) for hit in hits)) if hits else set()
        if len(named) == 1:
            return named.pop()
        firsts = set().union(*(self._of(hit) for hit in hits if _is_first(folded, hit))) if hits else set()
        if len(firsts) == 1:
            return firsts.pop()
        rest = [hit for hit in hits if not _is_lesser(folded, hit)]
        leading = set().union(*(self._of(hit) for hit in rest)) if rest else set()
        return leading.pop() if len(leading) == 1 and rest[0] is hits[0] else State.AMBIGUOUS_LABEL

    def _by_letter(self, text: str, response: str, folded: str) -> str | State:
        unknown = State.UNKNOWN_LABEL if any(map(str.isalnum, folded)) else State.MISSING_LABEL
        matched = _LETTER.fullmatch(text.strip()) or _LETTER_FIRST.match(text)
        if matched is None:
            return unknown
        letter = matched["letter"].casefold()
        if self.own_letters:
            return self.own_letters.get(letter, unknown)
        shown = _shown_letters(self, response)
        if letter in shown:
            return min(shown[letter]) if len(shown[letter]) == 1 else State.AMBIGUOUS_LABEL
        place = ord(letter) - ord("a")
        if place >= len(self._candidates):
            return unknown
        label = self._candidates[place]
        short = [other for other in self._candidates if other.casefold().startswith(letter)]
        if not shown and short and label not in short and len(self._candidates) > _MOST_OPTIONS:
            return State.AMBIGUOUS_LABEL  # "F" may be the sixth of eight emotions, or short for fear
        return label

    def shown_letters(self, response: str) -> dict[str, set[str]]:
        """The labels that the response shows after each letter."""
        shown: dict[str, set[str]] = {}
        if self._shown is not None:
            for hit in self._shown.finditer(response.casefold()):
                shown.setdefault(hit["letter"], set()).update(self._labels.get(_GAP.sub(" ", hit["name"]), ()))
        return shown


@lru_cache(maxsize=2)
def _shown_letters(names: LabelNames, response: str) -> dict[str, set[str]]:
    """`LabelNames.shown_letters`, cached per response."""
    return names.shown_letters(response)


@lru_cache(maxsize=256)
def label_names(candidates: tuple[str, ...], synonyms: tuple[tuple[str, str], ...] | None = None) -> LabelNames:
    """`LabelNames`, cached per set of candidates; `synonyms` defaults to `synonyms_of(candidates)`."""
    return LabelNames(candidates, sorted(synonyms_of(candidates).items()) if synonyms is None else synonyms)


@lru_cache(maxsize=256)
def more_label_names(candidates: tuple[str, ...]) -> LabelNames:
    """`LabelNames` with the less common words of `more_synonyms_of`, for responses that contain no usual name."""
    return LabelNames(candidates, sorted(more_synonyms_of(candidates).items()))


def hashable(synonyms: Mapping[str, str] | None) -> tuple[tuple[str, str], ...] | None:
    """Synonyms in the hashable form that `label_names` expects."""
    return None if synonyms is None else tuple(sorted(synonyms.items()))


def _is_denied(folded: str, hit: re.Match[str]) -> bool:
    return _denial(folded, hit) is not None


def _denial(folded: str, hit: re.Match[str]) -> tuple[int, int] | None:
    """The span in which a name's own clause negates it; None if it does not."""
    start = max(0, hit.start() - 120)
    before = folded[start : hit.start()]
    breaks = [matched.end() for matched in _CLAUSE.finditer(before)]
    goes_on = breaks and before[: breaks[-1]].endswith(",") and not _NEW_CLAUSE.match(before, breaks[-1])
    if breaks and not (goes_on and re.search(r"\bneither\b", before)):
        start += breaks[-1]
    after = _DENIED_AFTER.match(folded, hit.end())
    denied = _DENIED.search(_IDIOM.sub(lambda idiom: " " * len(idiom[0]), folded[start : hit.start()]))
    if denied is None and after is None:
        return None
    return (start + denied.start() if denied else start), after.end() if after else hit.end()


def _is_lesser(folded: str, hit: re.Match[str]) -> bool:
    return _LESS.search(folded[max(0, hit.start() - 60) : hit.start()]) is not None


def _is_first(folded: str, hit: re.Match[str]) -> bool:
    before = folded[max(0, hit.start() - 60) : hit.start()]
    return bool(_FIRST.search(before) or _FIRST_AFTER.match(folded, hit.end()))


def _is_misspelt(word: str, name: str) -> bool:
    """Whether the word is the name with one letter added, missing, replaced or swapped, but not its first letter
    ("curious" is not "furious"), and is no other word that usual answers contain."""
    if len(name) < _LONG_NAME or abs(len(word) - len(name)) > 1 or word == name or word in _OTHER_WORDS:
        return False
    if word[:1] != name[:1] and word[:2] != name[1::-1]:
        return False
    start = next((n for n, (a, b) in enumerate(zip(word, name, strict=False)) if a != b), min(len(word), len(name)))
    rest, other = word[start:], name[start:]
    swapped = len(rest) > 1 and len(other) > 1 and rest[1] + rest[0] + rest[2:] == other
    return rest[1:] == other[1:] or rest[1:] == other or rest == other[1:] or swapped


def _normal(text: str) -> str:
    """The text normalised for comparison: NFKC, case-folded, idioms removed, and -ize and -yze spelt -ise and -yse."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _NO_EMOTION.sub("something", folded)
    return folded.replace("ize", "ise").replace("yze", "yse")


def _fold(text: str) -> str:
    return _GAP.sub(" ", _normal(text)).strip()


def _pattern(folded: str) -> str:
    return r"[\s_\-]+(?:(?:an?|the)\s)?".join(re.escape(word) for word in folded.split(" "))
