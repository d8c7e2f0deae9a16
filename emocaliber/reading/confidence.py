"""Parsing the confidence that prose states about its answer, after a confidence mark or before "sure" and the like.

Statements that are negated or hypothetical, or that concern another label or being wrong, do not count. If several
numbers differ, none counts, unless later words correct the earlier one.
"""

from __future__ import annotations

import re

from emocaliber.core.predictions import State
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.marks import SENTENCE_END, Mark, few, marks_of
from emocaliber.reading.numbers import LONGEST, QUANTITY, is_plain, normal_number_text, read_number
from emocaliber.reading.statement import AMBIGUOUS, CORRECTION, SECONDARY, Statement

SURE = re.compile(
    rf"{re.sub(r'[?]P<[a-z]+>', '?:', QUANTITY)}\s(?:confident|confidence|certain|certainty|sure|probability|chance"
    r"|likelihood|likely|segur[oa]|sicher|sûre?|sicur[oa]|zeker|уверена?)\b"
    rf"|{re.sub(r'[?]P<[a-z]+>', '?:', QUANTITY)}\s?(?:的?把握|的?信心|の自信|の確信)",
    re.IGNORECASE,
)
_SURE_FIRST = re.compile(
    r"\bi(?:['’]m| am)\s(?:\w{3,14}ly\s|quite\s|very\s|pretty\s)?(?:confident|certain|sure)"
    r"(?:\s(?:in|of|about|with)\s(?:this|that|my|the|it)(?:\s(?:answer|label|choice|prediction|assessment|classification))?)?"
    r"\s?[,:(–—-]{1,2}\s?(?:(?:about|around|roughly|approximately|at|[~≈])\s?)?"
    rf"(?P<number>{re.sub(r'[?]P<[a-z]+>', '?:', QUANTITY)})\s?\)?(?=[.;!\n]|$)",
    re.IGNORECASE,
)
_ADVERBIAL = re.compile(
    r"^\s{0,3}(?:after|having|looking|on|upon|given|with|now|here|today|this|considering|judging|based|from)\b"
    r".{0,120}?(?=\bi(?:['’]m| am)\b)",
    re.IGNORECASE,
)
_RANGE_OPENS = re.compile(r"[0-9]\s?(?:%|percent)?\s?(?:and|to|or|[-–—~])\s?$", re.IGNORECASE)
_RETRACTED = re.compile(
    r"(?:^|[(.])\W{0,4}(?:correction|update|edit|erratum|revised|scratch that|no, wait)\b(?=[^\n]{0,60}[0-9])",
    re.IGNORECASE | re.MULTILINE,
)
_OTHERS = re.compile(
    r"\b(?:annotators?|raters?|humans?|people|experts?|participants?|users?|baselines?|dataset)\b", re.I
)
_DENIED = re.compile(
    r"\b(?:not|never|no|nobody|nowhere|none|neither|nor|cannot|can't|would|could|might|if|unless|was|were|had|less|more"
    r"|under|over|below|above|most|least|she|he|they|people|everyone|anyone|raters|observers|hardly|barely|almost|nearly"
    r"|anything|nothing|far|doubt\w*|impossible|lack\w*|before|earlier|initially|used to)\b|n't\b"
)


def read_confidence(text: str, names: LabelNames, label: str | State | None) -> Statement:
    """The confidence stated in prose without a label of its own, such as the text after an answer's tags."""
    return confidence_within(
        marks_of(text), (0, len(text)), text, names, label if not isinstance(label, State) else None
    )


def confidence_within(
    marks: list[Mark], span: tuple[int, int], text: str, names: LabelNames, label: str | None
) -> Statement:
    """The confidence stated within the span. If several differ: the last if it is a correction, otherwise all of them,
    joined by AMBIGUOUS."""
    stated = [
        m
        for m in marks
        if not m.is_label and not m.secondary and span[0] <= m.start < span[1] and _concerns(m, names, label)
        if not _is_of_another(m, text, names, label)
    ]
    for group in ([m for m in stated if m.strong], [m for m in stated if not m.strong]):
        values = [(mark, mark.value if mark.strong else mark.clause) for mark in group if not _is_denied(mark, text)]
        if not values:
            continue
        read = [
            (mark, value, read_number(_about_answer(value, names, label), mark.scale, text)) for mark, value in values
        ]
        numbers = [(mark, value, number) for mark, value, number in read if not isinstance(number, State)]
        if not numbers and not group[0].strong:
            break
        distinct = {number for _, _, number in numbers}
        corrected = len(distinct) > 1 and CORRECTION.search(text, numbers[-2][0].end, numbers[-1][0].start)
        if len(distinct) > 1 and not corrected:
            return Statement(confidence=AMBIGUOUS.join(value[:40] for _, value, _ in numbers))
        mark, value, _ = (numbers or read)[-1]
        if _RETRACTED.search(text, mark.end):
            return Statement(confidence=AMBIGUOUS)
        return Statement(confidence=_about_answer(value, names, label), scale=mark.scale)
    sure = _sure(text[span[0] : span[1]], names, label)
    if sure is None and stated:
        return Statement(confidence=stated[-1].clause[:LONGEST])
    return Statement(confidence=sure)


def _is_denied(mark: Mark, text: str) -> bool:
    """Whether the words before a mark in its sentence negate its statement or make it hypothetical."""
    before = text[max(0, mark.start - 160) : mark.start]
    return not mark.strong and bool(_DENIED.search(normal_number_text(SENTENCE_END.split(before)[-1])))


def _is_of_another(mark: Mark, text: str, names: LabelNames, label: str | None) -> bool:
    """Whether the words before a mark in its sentence name other people, or labels other than the answer's."""
    before = SENTENCE_END.split(text[max(0, mark.start - 160) : mark.start])[-1]
    named = names.named(before)
    return bool(_OTHERS.search(before)) or (label is not None and bool(named) and label not in named)


def _about_answer(value: str, names: LabelNames, label: str | None) -> str:
    """The value, with its label replaced by "answer" if it is the answer's."""
    cut = value[:LONGEST]
    return names.without_names(cut) if label is not None and names.named(cut) == {label} else cut


def _concerns(mark: Mark, names: LabelNames, label: str | None) -> bool:
    """Whether the mark concerns the answer, rather than another label or being wrong."""
    if re.search(
        r"\b(?:wrong|incorrect|mistaken|error|mistake|false|fail\w*|interval|range)\b", mark.about, re.IGNORECASE
    ):
        return False
    if mark.about and not is_plain(names.without_names(mark.about)):
        return False
    return not SECONDARY.search(mark.about) and not (label is not None and names.named(mark.about) - {label})


def _sure(text: str, names: LabelNames, label: str | None) -> str | None:
    """The statement around a number that is followed by "sure", "confident" or the like; None if there is none."""
    matched = []
    for sure in few(_SURE_FIRST.finditer(text)):
        sentence = SENTENCE_END.split(text[max(0, sure.start() - 160) : sure.start()])[-1]
        matched.append((sure["number"], not _DENIED.search(normal_number_text(sentence))))
    for sure in few(SURE.finditer(text)):
        start = max(0, sure.start() - 160)
        ends = [end.end() for end in SENTENCE_END.finditer(text, start, sure.start())]
        sentence = text[ends[-1] if ends else start : sure.start()]
        clause = _ADVERBIAL.sub("", re.split(r"[,(:—–|]|\band\b|\bbut\b", sentence)[-1])
        ranges = _RANGE_OPENS.search(sentence) is not None
        sentence = re.split(r"(?<!anything )(?<!nothing )\bbut\b|,\sso\b", sentence)[-1]
        end = SENTENCE_END.search(text, sure.end())
        asks = end is not None and end[0] == "?"
        after = text[sure.end() : min(end.start() if end else len(text), sure.end() + 120)]
        after = re.split(r"[,()—–|]|\bbut\b", after)[0]
        if label is not None and (named := names.named(clause + sure[0] + after)) and label not in named:
            continue
        if label is not None and names.named(after) == {label} and not _DENIED.search(normal_number_text(after)):
            after = ""  # "sure that this person is sad"
        sentence = normal_number_text(sentence)
        statement = _about_answer(clause + sure[0] + after, names, label)
        matched.append((statement, not asks and not ranges and not _DENIED.search(sentence)))
    numbers = {
        value: statement
        for statement, fair in matched
        if fair and isinstance(value := read_number(statement, None, text), float)
    }
    if len(numbers) == 1:
        return next(iter(numbers.values()))
    return AMBIGUOUS.join([*numbers.values()]) or "denied" if matched else None
