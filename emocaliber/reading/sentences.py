"""Parsing running prose: the label stated by sentences, if no mark, tag or separate line states one.

A sentence *names the answer* if it says what it is ("so it is fear", "I'd label him happy", "Sadness: the eyes …"), and
*describes* if it says what is seen ("the face shows joy"). Descriptions count only if no sentence names the answer.
Labels that are negated, hypothetical, asked about, past, quoted from the image or about somebody else do not count. Two
different labels are ambiguous, unless the later one is a conclusion.

    python -c "from emocaliber.reading import read_response; print(read_response('So it is fear.', ['fear', 'joy']))"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from emocaliber.reading.labels import LabelNames, Mention
from emocaliber.reading.phrases import (
    CONCLUDES,
    DESCRIBES,
    DOUBTED,
    ELSEWHERE,
    ENDS_CLAUSE,
    IS_ANSWER,
    NAMES_ANSWER,
    NOT_BUT,
    NUMBER_BESIDE,
    OPENING,
    OPENS,
    SAID_BY_OTHERS,
    SUPPOSED,
    TAKES_BACK,
    TURNED_DOWN,
)
from emocaliber.reading.statement import CORRECTION

_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"'”’)]{0,2}\s+|(?<=[。！？])|\n")
_LONGEST, _MOST, _FEWEST_OPTIONS, _NEXT = 600, 40, 3, 6
_CLAUSE_END = re.compile(
    r"[;:()\[\]—]|\s[-–]\s|[.!?](?:\s|$)|,\s(?:but|yet|while|whereas|not|rather than)\b|,\s(?=(?:and )?i\b)"
    r"|,\s(?=(?:and )?(?:so|thus|therefore|hence)\b)|\b(?:but|yet|though|although|whereas|however)\b"
)
_BUT = re.compile(r"\b(?:but|yet|however|whereas|though)\b")
_QUOTATION = re.compile(r"[\"“«]([^\"“”«»]{1,200})[\"”»]")

_Force = Literal["answer", "description", "mention", "nothing"]


@dataclass(frozen=True, slots=True)
class _Named:
    """A mention, its role (`force`) in its sentence, whether the sentence concludes or corrects, and the number right
    after the name."""

    label: str
    force: _Force
    sentence: int
    concludes: bool
    number: str


def stated_labels(text: str, names: LabelNames) -> tuple[str, ...]:
    """The label that the sentences of a text state; several if ambiguous, empty if none is stated."""
    named = list(_all_named(text, names))
    answers = [each for each in named if each.force == "answer"]
    if not answers:
        return _described(named) or _only_named(text, named, names)
    labels = list(dict.fromkeys(each.label for each in answers))
    if len(labels) == 1:
        return _with_rivals(answers, named)
    concluding = [each for each in answers if each.concludes and each.sentence > answers[0].sentence]
    last = {each.label for each in concluding if each.sentence == concluding[-1].sentence}
    return tuple(last) if len(last) == 1 and answers[-1].label in last else tuple(sorted(labels))


def number_beside(text: str, label: str, names: LabelNames) -> str | None:
    """The only number right after the label in a sentence that names it as the answer: "surprise, at 80%"."""
    numbers = {
        each.number
        for each in _all_named(text, names)
        if each.label == label and (each.force == "answer" or (each.force == "mention" and not names.are_english))
    }
    numbers.discard("")
    return numbers.pop() if len(numbers) == 1 else None


def _described(named: list[_Named]) -> tuple[str, ...]:
    """The described labels, and those mentioned in sentences with at most two labels."""
    described = {each.label for each in named if each.force == "description"}
    counts: dict[int, set[str]] = {}
    for each in named:
        if each.force != "nothing":
            counts.setdefault(each.sentence, set()).add(each.label)
    beside = set().union(*(labels for labels in counts.values() if len(labels) < _FEWEST_OPTIONS))
    return tuple(sorted(described | beside)) if described else ()


def _only_named(text: str, named: list[_Named], names: LabelNames) -> tuple[str, ...]:
    """The only candidate in a short text in a language other than English, if nothing negates or doubts it."""
    labels = {each.label for each in named}
    if names.are_english or len(labels) != 1 or len(text) > _LONGEST or DOUBTED.search(text.casefold()):
        return ()
    return tuple(labels) if all(each.force != "nothing" for each in named) else ()


def _with_rivals(answers: list[_Named], named: list[_Named]) -> tuple[str, ...]:
    """The label that is named as the answer, and others mentioned in the last sentence that names it."""
    last = answers[-1].sentence
    rivals = {each.label for each in named if each.sentence == last and each.force == "mention"}
    return tuple(sorted({answers[0].label} | (rivals if len(rivals) < _FEWEST_OPTIONS else set())))


def _all_named(text: str, names: LabelNames) -> Iterator[_Named]:
    """Every mention of a candidate, in order, in the first and the last 40 sentences."""
    sentences = [sentence for sentence in _SENTENCE.split(text) if len(sentence) <= _LONGEST]
    for number, written in enumerate(sentences[:_MOST] + sentences[_MOST:][-_MOST:]):
        sentence = _Sentence(*names.mentions(written))
        for place, mention in enumerate(sentence.mentions):
            beside = NUMBER_BESIDE.match(sentence.folded, mention.end)
            for label in mention.labels:
                yield _Named(
                    label, sentence.force(place), number, sentence.concludes, beside["number"] if beside else ""
                )


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A folded sentence and the names in it."""

    folded: str
    mentions: list[Mention]

    @property
    def concludes(self) -> bool:
        """Whether it begins with words that conclude, or that correct what was said before."""
        return bool(CONCLUDES.search(self.folded) or CORRECTION.search(self.folded[: self.mentions[0].start]))

    def force(self, place: int) -> _Force:
        """The role of a mention in the sentence."""
        mention = self.mentions[place]
        start, end = self._clause(mention)
        before = self.folded[start : mention.start]
        if self._is_void(mention, self.folded[start:end], before):
            return "nothing"
        if self._is_answer(mention, before):
            following = self.mentions[place + 1].start if place + 1 < len(self.mentions) else len(self.folded)
            in_list = place + 1 < len(self.mentions) and following - mention.end < _NEXT
            return "mention" if in_list else "answer"
        described = DESCRIBES.search(before) and ENDS_CLAUSE.match(self.folded, mention.end)
        return "description" if described else "mention"

    def _clause(self, mention: Mention) -> tuple[int, int]:
        bounds = [0, *(bound.end() for bound in _CLAUSE_END.finditer(self.folded)), len(self.folded)]
        return (
            max(bound for bound in bounds if bound <= mention.start),
            min((bound for bound in bounds if bound >= mention.end), default=len(self.folded)),
        )

    def _is_void(self, mention: Mention, clause: str, before: str) -> bool:
        """Whether the mention is negated, hypothetical, asked about, quoted in a longer phrase, or about something"
        " else."""
        longest_name = 4 + mention.end - mention.start
        quoted = any(
            start <= mention.start and mention.end <= end and end - start > longest_name
            for start, end in (matched.span(1) for matched in _QUOTATION.finditer(self.folded))
        )
        return (
            mention.denied
            or mention.lesser
            or quoted
            or bool(SUPPOSED.search(clause))
            or bool(TURNED_DOWN.search(self.folded, mention.end))
            or bool(SAID_BY_OTHERS.search(_BUT.split(self.folded[: mention.start])[-1]))
            or bool(ELSEWHERE.search(before.rpartition(",")[2] or before))
        )

    def _is_answer(self, mention: Mention, before: str) -> bool:
        """Whether the sentence names the mention as the answer."""
        opens = not OPENING.sub("", self.folded[: mention.start]).strip(" \t\"'“‘*_#>-•(")
        if opens and OPENS.match(self.folded, mention.end):
            return TAKES_BACK.search(self.folded, mention.end) is None
        if IS_ANSWER.match(self.folded, mention.end) or self._is_apposition(mention):
            return True
        return bool(NAMES_ANSWER.search(before) and ENDS_CLAUSE.match(self.folded, mention.end))

    def _is_apposition(self, mention: Mention) -> bool:
        """Whether the mention stands alone after a final colon, or follows "not … but"."""
        before = self.folded[: mention.start]
        if NOT_BUT.search(before) and ENDS_CLAUSE.match(self.folded, mention.end):
            return True
        colon = before.rstrip(" \"'“‘*_")
        alone = not self.folded[mention.end :].strip(" .!\"'”’*_")
        return alone and colon.endswith(":") and not ELSEWHERE.search(colon)
