"""Parsing marked prose: "Emotion: joy. Confidence: 85%", with the value on the same line or below its heading.

Weak marks ("the emotion is joy") count only if there is no strong mark ("Final answer: joy"). If several strong labels
differ, the last counts if words correct the earlier one ("Wait"); if each has a share and the shares sum to at most 1,
they are a distribution; otherwise none counts.
"""

from __future__ import annotations

import re
from itertools import pairwise

from emocaliber.core.predictions import State
from emocaliber.reading.confidence import SURE, confidence_within
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.marks import SENTENCE_END, Mark, marks_of
from emocaliber.reading.numbers import read_number
from emocaliber.reading.scales import Scale
from emocaliber.reading.shares import entries, read_line
from emocaliber.reading.statement import AMBIGUOUS, CORRECTION, Statement

_LABEL_END = re.compile(r"[\n;!]|\.(?:\s|$)|\s(?:#|//)\s")
_WEAK_LEAD = re.compile(
    r"\W{0,4}(?:(?:most likely|probably|clearly|likely|definitely|best described as|that of|an?|one of|the|of|mainly"
    r"|primarily)\s){0,3}",
    re.IGNORECASE,
)
_LESSER_LINE = re.compile(
    r"^\W{0,4}(?:alternatives?|runner-?ups?|second (?:choice|guess)|other (?:candidates?|options?))\b[^\n]{0,20}[:：]",
    re.IGNORECASE | re.MULTILINE,
)
_EXPRESSION = re.compile(r"\bexpressions?\b", re.IGNORECASE)
_ITEM = re.compile(r"^(?:[0-9]{1,2}[.)]|[-•])\s{1,3}(?=[^\W0-9])")
_MOST_SHARES = 30


def read_prose(text: str, names: LabelNames, response: str) -> Statement | None:
    """The statement of the marked values; None if no label is marked."""
    marks = marks_of(text)
    labels = [mark for mark in marks if mark.is_label and not mark.secondary]
    weak = [mark for mark in labels if not mark.strong and _leads(mark.value, names)]
    correcting = [
        mark
        for mark in weak
        if mark.is_final or CORRECTION.search(SENTENCE_END.split(text[max(0, mark.start - 60) : mark.start])[-1])
    ]
    for group in ([mark for mark in labels if mark.strong or mark in correcting], weak):
        read = [(mark, names.read(_label_part(mark.value), response)) for mark in group]
        readable = [(mark, label) for mark, label in read if label not in (State.UNKNOWN_LABEL, State.MISSING_LABEL)]
        if readable:
            return _among(_without_expression(readable, text), marks, text, names)
    unread = [mark for mark in labels if mark.strong and mark.is_core and _label_part(mark.value).strip()]
    if not unread:
        return None
    confidence = confidence_within(marks, (0, len(text)), text, names, None)
    return Statement(_label_part(unread[-1].value), *_parts(confidence))


def _without_expression(readable: list[tuple[Mark, str | State]], text: str) -> list[tuple[Mark, str | State]]:
    """Without the marks of a facial expression, if the emotion itself is marked too."""
    rest = [pair for pair in readable if not _EXPRESSION.search(text, pair[0].start, pair[0].end)]
    return rest if any(mark.is_core for mark, _ in rest) else readable


def is_marked(text: str) -> bool:
    """Whether the text contains a strong label mark."""
    return any(mark.is_label and mark.strong and not mark.secondary for mark in marks_of(text[:2000]))


def _among(readable: list[tuple[Mark, str | State]], marks: list[Mark], text: str, names: LabelNames) -> Statement:
    """The statement of the marks that name a candidate, or are ambiguous."""
    finals = [pair for pair in readable if pair[0].is_final]
    chosen = finals[-1:] or readable[:1]
    for earlier, later in pairwise(readable):
        if not finals and later[1] != chosen[0][1] and CORRECTION.search(text, earlier[0].end, later[0].end):
            chosen = [later]
    differing = {label for _, label in readable if label != chosen[0][1]}
    if differing and not finals and chosen[0] is readable[0]:
        shares = _as_shares(readable, marks, text, names) if len(readable) <= _MOST_SHARES else ()
        return Statement(shares=shares) if shares else Statement(AMBIGUOUS.join(m.value for m, _ in readable))
    mark, label = chosen[0]
    pairs = entries(mark.value)
    if len(pairs) > 1 and all(not isinstance(names.read(name), State) for name, _ in pairs):
        return Statement(shares=tuple(pairs))
    span = _region(mark, readable, marks, text, alone=not differing)
    stated = confidence_within(marks, span, text, names, None if isinstance(label, State) else label)
    if stated.confidence is None:
        line = read_line(SENTENCE_END.split(mark.value.strip(), maxsplit=1)[0], names)
        stated = Statement(confidence=line.confidence if line else None)
    return Statement(_label_part(mark.value), *_parts(stated))


def _parts(stated: Statement) -> tuple[str | None, tuple[tuple[str, str], ...], Scale | None]:
    return stated.confidence, (), stated.scale


def _region(
    mark: Mark, readable: list[tuple[Mark, str | State]], marks: list[Mark], text: str, *, alone: bool
) -> tuple[int, int]:
    """The span in which a label's confidence may be stated: up to the next label, and also before the label if no other
    label is named. A runner-up in brackets is an aside that does not end the span.
    """
    label = dict(readable)[mark]
    headings = [m for m in marks if not m.is_label and m.strong and _opens_line(text, m.start)]
    others = [
        m.start
        for m in marks
        if m.is_label and m.start > mark.start and (m.secondary or dict(readable).get(m, label) != label)
        if not (m.secondary and text[: m.start].rstrip().endswith(("(", "[", "（")))
    ]
    others += [matched.start() for matched in [_LESSER_LINE.search(text, mark.end)] if matched]
    if alone and len(headings) == 1:
        return (0, len(text))
    return (0 if alone else mark.start, min(others, default=len(text)))


def _opens_line(text: str, at: int) -> bool:
    return not text[text.rfind("\n", 0, at) + 1 : at].strip(" *#>-")


def _as_shares(
    readable: list[tuple[Mark, str | State]], marks: list[Mark], text: str, names: LabelNames
) -> tuple[tuple[str, str], ...]:
    """The labels with their confidences, if each has one and they sum to at most 1; else empty."""
    shares: list[tuple[str, str]] = []
    for number, (mark, label) in enumerate(readable):
        end = readable[number + 1][0].start if number + 1 < len(readable) else len(text)
        pairs = entries(mark.value)
        stated = confidence_within(marks, (mark.start, end), text, names, None).confidence or (
            pairs[0][1] if pairs else ""
        )
        if isinstance(label, State) or isinstance(read_number(stated), State) or label in dict(shares):
            return ()
        shares.append((label, stated))
    total = sum(value for _, stated in shares if isinstance(value := read_number(stated), float))
    return tuple(shares) if total <= 1.005 else ()


def _leads(value: str, names: LabelNames) -> bool:
    """Whether the value begins with a candidate's name, optionally after words such as "probably"."""
    lead = _WEAK_LEAD.match(value)
    head = re.split(
        r"[\s,.;:!?()]*(?:[,.;:!?()]|\s(?:because|since|as|with|and|or|in|on)\b|$)",
        value[lead.end() if lead else 0 :],
        maxsplit=1,
    )[0]
    return names.is_name(head) or not isinstance(names.read(head), State)


def _label_part(value: str) -> str:
    """The label part of a mark's value: up to the end of the sentence, without a statement of confidence."""
    part = _LABEL_END.split(_ITEM.sub("", value.strip()), maxsplit=1)[0]
    return re.sub(r",?\s(?:and\s)?(?:with|at)\s(?:an?\s)?$", "", SURE.sub(" ", part))
