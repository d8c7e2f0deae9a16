"""Marked prose: "Emotion: joy. Confidence: 85%", with the value on the same line or below its heading.

A mark is strong where it opens a line or a clause ("Final answer: joy"), weak within a sentence ("the emotion is joy");
weak ones count only where there is no strong one. Runner-ups ("Second emotion: awe") and explanations hold no answer.
Of several strong labels that differ, the last counts where words take the earlier one back ("Wait"), otherwise none;
where each has its share and the shares sum to at most 1 they are a distribution.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from emocaliber.core.predictions import State
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.numbers import LONGEST, QUANTITY, is_plain, normal_number_text, read_number
from emocaliber.reading.scales import Scale, scale_of_heading
from emocaliber.reading.shares import entries, read_line
from emocaliber.reading.statement import AMBIGUOUS, CORRECTION, SECONDARY, Statement
from emocaliber.reading.vocabulary import CONFIDENCE, CONFIDENCE_CJK, LABEL, LABEL_CJK

_NOUNS = (
    "label|score|level|value|rating|estimate|name|class|category|percentage|percent|type|prediction|shown|expressed"
    "|depicted|displayed|conveyed|evoked|detected|probability|guess"
)
_MARK = re.compile(
    rf"(?:(?<![^\W_])(?<!['’-])(?:(?P<label>{LABEL})|(?:{CONFIDENCE})|pr?(?=\s?\([^()\n]{{1,40}}\)\s?[=≈:]))|(?P<label_cjk>{LABEL_CJK})|(?:{CONFIDENCE_CJK}))"
    rf"(?P<noun>(?:[\s_](?:{_NOUNS})\b){{0,2}})(?P<rank>\s?\#?[1-9](?![0-9.%]))?"
    r"(?P<about>\s(?:in|of|for|that|about|from)\s[^\W0-9][^\n:：=|,.;()]{0,40}?)?[\"'”’`]?"
    r"\s{0,2}(?P<scale>[(\[（][^()（）\[\]\n\"'“]{0,40}[)\]）]|in\s?%|%)?[\"'”’]?\s{0,2}"
    r"(?P<sep>[:：=＝→]|\|(?=[^\n]*\S)|[-–—](?=\s)|\b(?:is|are|est|ist|es|è|é)\b:?|[为為是はが]"
    r"|(?:of|at|de|von|di|da|à|[.,])?\s?(?=[~≈]?\s?\.?[0-9])|$)",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"\w")
_BOUNDARY = re.compile(r"[\n.;!?,|({\[:：]|\s[-–—]\s|[0-9]{1,2}[.)]\s|\b(?:and|with|but|yet)\b")
_OWN = re.compile(
    r"(?:[\s\U0001F300-\U0001FAFF\u2600-\u26ff#>•\-–—+\d.)\"'“‘`_|]|\b(?:my|the|your|our|final|overall|predicted|primary|main|dominant|detected|facial|most"
    r"|likely|best|top|chosen|selected|estimated|model|model's|self-reported|stated|so|therefore|thus|hence|here|a|an"
    r"|emotional|perceived|expressed|recognized|recognised|inferred|identified|single|short|closest|at|of|sure|ok|okay"
    r"|certainly|then|this|strongest|one|is)\b)*",
    re.IGNORECASE,
)
_EXPLANATION = re.compile(
    r"(?:^[^\w\n]{0,8}|(?<=[.;!?]\s))(?:explanations?|reason(?:s|ing)?|rationale|justification|why|notes?|because|analysis"
    r"|evidence|comments?|observations?|caveats?|alternatives?|alternatively|runner[- ]?ups?|other|options?|candidates?"
    r"|here is why|here's why|interpretation|context|details?|description|for example|example)\b"
    r"[^\n:：]{0,40}[:：,\n-]",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"[\n;!?]|\.(?:\s|$)")
_LABEL_END = re.compile(r"[\n;!]|\.(?:\s|$)")
_BLANK = re.compile(r"[\s*_#>|\"'“”‘’`:=-]*")
_WEAK_LEAD = re.compile(
    r"\W{0,4}(?:(?:most likely|probably|clearly|likely|definitely|best described as|that of|an?|one of|the|of|mainly"
    r"|primarily)\s){0,3}",
    re.IGNORECASE,
)
_SURE = re.compile(
    rf"{re.sub(r'[?]P<[a-z]+>', '?:', QUANTITY)}\s(?:confident|confidence|certain|certainty|sure|probability|chance"
    r"|likelihood|likely)\b",
    re.IGNORECASE,
)
_RETRACTED = re.compile(
    r"(?:^|[(.])\W{0,4}(?:correction|update|edit|erratum|revised|scratch that|no, wait)\b(?=[^\n]{0,60}[0-9])",
    re.IGNORECASE | re.MULTILINE,
)
_DENIED = re.compile(
    r"\b(?:not|never|no|nobody|nowhere|none|neither|nor|cannot|can't|would|could|might|if|unless|was|were|had|less|more"
    r"|under|over|below|above|most|least|she|he|they|people|everyone|anyone|raters|observers|hardly|barely|almost|nearly"
    r"|anything|nothing|far|doubt\w*|impossible|lack\w*|before|earlier|initially|used to)\b|n't\b"
)
_LONGEST_VALUE, _PREFIX, _MOST_SHARES, _MOST_MARKS = 300, 70, 30, 60


@dataclass(frozen=True, slots=True)
class _Mark:
    """One mark with its value; `start` is where its clause begins, `value` what follows it, up to the next mark."""

    is_label: bool
    strong: bool
    secondary: bool
    is_final: bool
    is_core: bool
    start: int
    end: int
    clause: str
    value: str
    about: str
    scale: Scale | None


def read_prose(text: str, names: LabelNames, response: str) -> Statement | None:
    """What the marked values state, or None where no label is marked."""
    marks = _marks(text)
    labels = [mark for mark in marks if mark.is_label and not mark.secondary]
    weak = [mark for mark in labels if not mark.strong and _leads(mark.value, names)]
    correcting = [
        mark for mark in weak if CORRECTION.search(_SENTENCE_END.split(text[max(0, mark.start - 60) : mark.start])[-1])
    ]
    for group in ([mark for mark in labels if mark.strong or mark in correcting], weak):
        read = [(mark, names.read(_label_part(mark.value), response)) for mark in group]
        readable = [(mark, label) for mark, label in read if label not in (State.UNKNOWN_LABEL, State.MISSING_LABEL)]
        if readable:
            return _among(readable, marks, text, names)
    unread = [mark for mark in labels if mark.strong and mark.is_core and _label_part(mark.value).strip()]
    if not unread:
        return None
    confidence = _confidence(marks, (0, len(text)), text, names, None)
    return Statement(_label_part(unread[-1].value), *_parts(confidence))


def read_confidence(text: str, names: LabelNames, label: str | State | None) -> Statement:
    """The confidence that prose alone states, such as what follows an answer's tags."""
    return _confidence(_marks(text), (0, len(text)), text, names, label if not isinstance(label, State) else None)


def is_marked(text: str) -> bool:
    """Whether the text holds a strong mark of a label."""
    return any(mark.is_label and mark.strong and not mark.secondary for mark in _marks(text[:2000]))


def _among(readable: list[tuple[_Mark, str | State]], marks: list[_Mark], text: str, names: LabelNames) -> Statement:
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
    stated = _confidence(marks, span, text, names, None if isinstance(label, State) else label)
    if stated.confidence is None:
        line = read_line(_SENTENCE_END.split(mark.value.strip(), maxsplit=1)[0], names)
        stated = Statement(confidence=line.confidence if line else None)
    return Statement(_label_part(mark.value), *_parts(stated))


def _parts(stated: Statement) -> tuple[str | None, tuple[tuple[str, str], ...], Scale | None]:
    return stated.confidence, (), stated.scale


def _region(
    mark: _Mark, readable: list[tuple[_Mark, str | State]], marks: list[_Mark], text: str, *, alone: bool
) -> tuple[int, int]:
    """Where the confidence of a label may stand: up to the next label, and before it where no other label is named.

    A runner-up in brackets is an aside: what follows them speaks of the label again.
    """
    label = dict(readable)[mark]
    others = [
        m.start
        for m in marks
        if m.is_label and m.start > mark.start and (m.secondary or dict(readable).get(m, label) != label)
        if not (m.secondary and text[: m.start].rstrip().endswith(("(", "[", "（")))
    ]
    return (0 if alone else mark.start, min(others, default=len(text)))


def _as_shares(
    readable: list[tuple[_Mark, str | State]], marks: list[_Mark], text: str, names: LabelNames
) -> tuple[tuple[str, str], ...]:
    """The labels with a confidence each, where these are shares of one; empty otherwise."""
    shares: list[tuple[str, str]] = []
    for number, (mark, label) in enumerate(readable):
        end = readable[number + 1][0].start if number + 1 < len(readable) else len(text)
        pairs = entries(mark.value)
        stated = _confidence(marks, (mark.start, end), text, names, None).confidence or (pairs[0][1] if pairs else "")
        if isinstance(label, State) or isinstance(read_number(stated), State) or label in dict(shares):
            return ()
        shares.append((label, stated))
    total = sum(value for _, stated in shares if isinstance(value := read_number(stated), float))
    return tuple(shares) if total <= 1.005 else ()


def _confidence(
    marks: list[_Mark], span: tuple[int, int], text: str, names: LabelNames, label: str | None
) -> Statement:
    """The confidence stated within the span; of several that differ the last where it corrects, otherwise all."""
    stated = [
        m
        for m in marks
        if not m.is_label and not m.secondary and span[0] <= m.start < span[1] and _concerns(m, names, label)
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


def _is_denied(mark: _Mark, text: str) -> bool:
    """Whether the sentence before a mark within it denies, or only supposes, what it says."""
    before = text[max(0, mark.start - 160) : mark.start]
    return not mark.strong and bool(_DENIED.search(normal_number_text(_SENTENCE_END.split(before)[-1])))


def _about_answer(value: str, names: LabelNames, label: str | None) -> str:
    """The value with "answer" for the label that it is about."""
    cut = value[:LONGEST]
    return names.without_names(cut) if label is not None and names.named(cut) == {label} else cut


def _concerns(mark: _Mark, names: LabelNames, label: str | None) -> bool:
    """Whether the mark speaks of the answer, not of another label or of being wrong."""
    if re.search(
        r"\b(?:wrong|incorrect|mistaken|error|mistake|false|fail\w*|interval|range)\b", mark.about, re.IGNORECASE
    ):
        return False
    if mark.about and not is_plain(names.without_names(mark.about)):
        return False
    return not SECONDARY.search(mark.about) and not (label is not None and names.named(mark.about) - {label})


def _sure(text: str, names: LabelNames, label: str | None) -> str | None:
    """The statement around a number that "sure", "confident" or the like follows; None where there is none."""
    matched = []
    for sure in _few(_SURE.finditer(text)):
        start = max(0, sure.start() - 160)
        ends = [end.end() for end in _SENTENCE_END.finditer(text, start, sure.start())]
        sentence = text[ends[-1] if ends else start : sure.start()]
        clause = re.split(r"[,(:—–|]|\band\b|\bbut\b", sentence)[-1]
        end = _SENTENCE_END.search(text, sure.end())
        asks = end is not None and end[0] == "?"
        after = text[sure.end() : min(end.start() if end else len(text), sure.end() + 120)]
        after = re.split(r"[,()—–|]|\bbut\b", after)[0]
        sentence = normal_number_text(sentence)
        statement = _about_answer(clause + sure[0] + after, names, label)
        matched.append((statement, not asks and not _DENIED.search(sentence)))
    numbers = {
        value: statement
        for statement, fair in matched
        if fair and isinstance(value := read_number(statement, None, text), float)
    }
    if len(numbers) == 1:
        return next(iter(numbers.values()))
    return AMBIGUOUS.join([*numbers.values()]) or "denied" if matched else None


def _leads(value: str, names: LabelNames) -> bool:
    """Whether the value begins with a candidate's name, but for words such as "probably"."""
    lead = _WEAK_LEAD.match(value)
    head = re.split(
        r"[\s,.;:!?()]*(?:[,.;:!?()]|\s(?:because|since|as|with|and|or|in|on)\b|$)",
        value[lead.end() if lead else 0 :],
        maxsplit=1,
    )[0]
    return names.is_name(head) or not isinstance(names.read(head), State)


def _label_part(value: str) -> str:
    """What of a mark's value is the label: up to the sentence's end, without a statement of confidence."""
    part = _LABEL_END.split(value.strip(), maxsplit=1)[0]
    return re.sub(r",?\s(?:and\s)?(?:with|at)\s(?:an?\s)?$", "", _SURE.sub(" ", part))


def _marks(text: str) -> list[_Mark]:
    """All marks of the text in order, with their values, outside explanations."""
    matched = _few(_MARK.finditer(text))
    clauses = [_clause(text, text.rfind("\n", 0, mark.start()) + 1, mark.start()) for mark in matched]
    explained = _explained(text)
    marks = []
    for number, (mark, (line, clause, prefix)) in enumerate(zip(matched, clauses, strict=True)):
        is_label = mark["label"] is not None or mark["label_cjk"] is not None
        if is_label and _WORD.match(mark["sep"]) and not _is_plain_subject(mark, prefix):
            continue
        own, sep = _OWN.fullmatch(prefix) is not None and not _WORD.match(mark["sep"]), mark["sep"].strip()
        is_heading = sep == "" and mark.end() == _line_end(text, mark.end())
        if (is_heading and not (own and clause == line)) or (is_label and not is_heading and sep in _LINKS):
            continue
        bounds = [
            other.start()
            for other, (_, start, _) in zip(matched[number + 1 : number + 4], clauses[number + 1 :], strict=False)
            if start > mark.end() or not _WORD.match(other["sep"])
        ]
        following = min(bounds, default=len(text))
        heading = normal_number_text(f"{mark['noun']} {mark['scale'] or ''}")
        scale = scale_of_heading(heading) if mark["scale"] or "percent" in mark["noun"] else None
        marks.append(
            _Mark(
                is_label,
                own,
                _is_secondary(mark, own, text[max(line, mark.start() - _PREFIX) : mark.start()])
                or _is_in(explained, mark.start()),
                bool(re.search(r"\bfinal\b", prefix, re.IGNORECASE)),
                bool(mark["label_cjk"] or (mark["label"] and mark["label"].lower().rstrip("s") in _CORE)),
                clause,
                mark.end(),
                text[clause : min(following, _statement_end(text, mark.end()))],
                _value(text, mark.end(), following),
                mark["about"] or ("" if scale else (mark["scale"] or "").strip("()[]（） ")),
                scale,
            )
        )
    return marks


def _is_plain_subject(mark: re.Match[str], prefix: str) -> bool:
    """Whether nothing in "The emotion of this face is" takes back what follows."""
    if mark["label_cjk"]:
        return not re.search(r"[不没沒非无無未别]", prefix)
    return is_plain(f"{prefix} {mark['about'] or ''}")


def _is_secondary(mark: re.Match[str], own: bool, before: str) -> bool:
    """Whether the mark is of a runner-up, or of a state of affairs that its bracket names."""
    if mark["rank"] and mark["rank"].strip(" #") != "1":
        return True
    bracket = normal_number_text((mark["scale"] or "").strip("()[]（） "))
    if SECONDARY.search(bracket):
        return True
    return not own and bool(SECONDARY.search(before.rpartition(".")[2]))


_LINKS = {"", ".", ",", "of", "at", "de", "von", "di", "da", "à"}
_CORE = {"emotion", "answer", "label", "sentiment", "feeling", "prediction", "émotion"}


def _few(matched: Iterator[re.Match[str]]) -> list[re.Match[str]]:
    """The first 60 and the last 60: what is quadratic in the number of marks stays small."""
    marks = list(matched)
    return marks if len(marks) <= 2 * _MOST_MARKS else marks[:_MOST_MARKS] + marks[-_MOST_MARKS:]


def _clause(text: str, line: int, at: int) -> tuple[int, int, str]:
    """Where the line and the clause of a mark begin, and the words between clause and mark."""
    start = max(line, at - _PREFIX)
    bounds = [bound.end() for bound in _BOUNDARY.finditer(text, start, at)]
    clause = bounds[-1] if bounds else start
    return line, (line if _BLANK.fullmatch(text[line:clause]) and clause - line < 12 else clause), text[clause:at]


def _value(text: str, at: int, following: int) -> str:
    """The value of a mark that ends at `at`: the rest of its line, or the next line that is not blank."""
    end = min(following, _line_end(text, at), at + _LONGEST_VALUE)
    if text[at:end].strip(" \t*_#>|\"'“”‘’`:=-") or end == following:
        return text[at:end]
    for _ in range(3):
        if end >= len(text):
            break
        at = end + 1
        end = min(following, _line_end(text, at), at + _LONGEST_VALUE)
        if text[at:end].strip(" \t*_#>|\"'“”‘’`:=-"):
            break
    return text[at:end]


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _statement_end(text: str, at: int) -> int:
    end = _SENTENCE_END.search(text, at, at + LONGEST)
    return end.start() if end else min(len(text), at + LONGEST)


def _explained(text: str) -> list[tuple[int, int]]:
    """The stretches of the text, each to the end of its line, that explain."""
    stretches: list[tuple[int, int]] = []
    for matched in _EXPLANATION.finditer(text):
        if not stretches or matched.start() >= stretches[-1][1]:
            stretches.append((matched.start(), _line_end(text, matched.end() - 1)))
    return stretches


def _is_in(stretches: list[tuple[int, int]], at: int) -> bool:
    place = bisect_right(stretches, (at, len(stretches) + 10**12)) - 1
    return place >= 0 and stretches[place][0] <= at < stretches[place][1]
